//! Products of large matrices, block by block (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication).

use super::product::{Matrix, Out, pack, packed_size, panel_vectors, strip};
use super::simd::{COLUMNS, Kernel, Simd};
use crate::stop::Meter;

/// One product C (m, n) = A (m, k) B (k, n), all over memory of any strides.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    pub a: Matrix,
    pub b: Matrix,
    pub c: *mut f32,
    pub c_row: usize,
    pub c_column: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Whether the product is added to what C holds.
    pub add: bool,
}

impl Product {
    /// The same product with the longer side as columns where the other would leave a panel half empty.
    fn oriented(self, lanes: usize) -> Self {
        if self.n >= 2 * lanes || self.n >= self.m {
            return self;
        }
        Self {
            a: self.b.transposed(),
            b: self.a.transposed(),
            c_row: self.c_column,
            c_column: self.c_row,
            m: self.n,
            n: self.m,
            ..self
        }
    }
}

/// One thread's share of a product.
pub struct Share {
    pub product: Product,
    pub part: usize,
    pub parts: usize,
}

/// Rows of A in a block. Each panel of B is multiplied by all of them.
const HEIGHT: usize = 384;
/// Length of a block along k. The longer it is, the less often sums are written to memory and read again. A panel of this
/// many rows fits the second cache.
const DEPTH: usize = 1024;
/// Panels of B in a block. They are packed together.
const PANELS: usize = 32;

impl Kernel for Share {
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn run<S: Simd>(&self) {
        let Product { a, b, c, c_row, c_column, m, n, k, add } = self.product.oriented(S::LANES);
        // The longer side is shared out: rows in whole tiles, columns in whole panels.
        let wide = COLUMNS * S::LANES;
        let by_rows = m.div_ceil(S::ROWS) >= n.div_ceil(wide);
        let (unit, size) = if by_rows { (S::ROWS, m) } else { (wide, n) };
        let units = size.div_ceil(unit);
        let (from, to) = (self.part * units / self.parts, (self.part + 1) * units / self.parts);
        let (from, to) = ((from * unit).min(size), (to * unit).min(size));
        let ((m0, m1), (n0, n1)) = if by_rows { ((from, to), (0, n)) } else { ((0, m), (from, to)) };
        // Rows that are dense along k are read in place. Others are packed side by side: for few panels many rows at a time,
        // which makes the copy fast, and for many panels the rows of one tile, which makes the tiles fast.
        let in_place = a.column == 1;
        let (group, depth) = match n1 - n0 {
            _ if in_place => (HEIGHT, DEPTH),
            few if few < 8 * wide => (S::GROUP, 16 * S::LANES),
            _ => (S::ROWS, DEPTH),
        };
        let (depth, width) = (depth.min(k), (PANELS * wide).min(n1 - n0));
        let mut buffer = super::Scratch::take();
        let size = packed_size(depth, width, S::LANES);
        let panels = buffer.0.reserve(size + depth * HEIGHT);
        let packed = panels.wrapping_add(size);
        let mut meter = Meter::default();
        for p in (0..k.max(1)).step_by(depth.max(1)) {
            let (depth, add) = (depth.min(k - p), add || p > 0);
            for left in (n0..n1).step_by(PANELS * wide) {
                let right = n1.min(left + PANELS * wide);
                // SAFETY: the buffer has room for a block of B; B is good for (k, n).
                unsafe { pack(b.from(p, left), depth, right - left, S::LANES, panels) };
                for top in (m0..m1).step_by(HEIGHT) {
                    let bottom = m1.min(top + HEIGHT);
                    // SAFETY: the buffer holds the panels and has room for the packed rows of A; A and C are good for (m, k)
                    // and (m, n).
                    unsafe {
                        if !in_place {
                            pack_rows(a.from(top, p), bottom - top, depth, group, packed);
                        }
                        for first in (left..right).step_by(wide) {
                            let columns = wide.min(right - first);
                            let vectors = if columns == wide { COLUMNS } else { panel_vectors(columns, S::LANES) };
                            let panel = panels.add(depth * (first - left));
                            for row in (top..bottom).step_by(group) {
                                let rows = group.min(bottom - row);
                                let of_a = if in_place {
                                    a.from(row, p)
                                } else {
                                    Matrix { at: packed.add((row - top) * depth), row: 1, column: rows }
                                };
                                let at = c.add(row * c_row + first * c_column);
                                let out = Out { at, row: c_row, column: c_column, add, bias: std::ptr::null() };
                                strip::<S>(of_a, (rows, depth), panel, vectors, (0, columns), out, &mut meter);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Pack rows of A (m, k) so that tiles read their rows' numbers side by side: groups of rows, k by k.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn pack_rows(a: Matrix, m: usize, k: usize, group: usize, to: *mut f32) {
    for row in (0..m).step_by(group) {
        let (rows, from) = (group.min(m - row), a.from(row, 0));
        // SAFETY: reads (m, k) numbers and writes as many; the caller's pointers are good for them.
        unsafe {
            let to = to.add(row * k);
            match (a.row, rows) {
                (1, 24) => pack_group::<24>(from, k, to),
                (1, 6) => pack_group::<6>(from, k, to),
                (1, 3) => pack_group::<3>(from, k, to),
                _ => {
                    for p in 0..k {
                        (0..rows).for_each(|r| *to.add(p * rows + r) = *from.at.add(r * a.row + p * a.column));
                    }
                }
            }
        }
    }
}

/// Pack a group of N rows whose numbers stand side by side already.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn pack_group<const N: usize>(a: Matrix, k: usize, to: *mut f32) {
    for p in 0..k {
        // SAFETY: reads (N, k) numbers and writes as many; the caller's pointers are good for them.
        unsafe {
            let numbers = a.at.add(p * a.column).cast::<[f32; N]>().read_unaligned();
            to.add(p * N).cast::<[f32; N]>().write_unaligned(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::multiply;
    use super::{Matrix, Product};

    /// More rows, columns and k than one block has, none of them a multiple of a tile; many columns, few, and few rows. Whole
    /// numbers, whose sums are exact.
    #[test]
    fn a_product_of_many_blocks_adds_up_all_of_them() {
        let numbers = |n: usize, turn: usize| (0..n).map(|i| ((i * turn / 8) % 7) as f32 - 3.0).collect::<Vec<f32>>();
        for [m, n, k] in [[391, 1063, 1031], [391, 67, 1031], [5, 1063, 129]] {
            let (left, right, old) = (numbers(m * k, 13), numbers(k * n, 11), numbers(m * n, 9));
            for (down, add) in [(false, false), (true, false), (true, true)] {
                let a = if down { Matrix::rows(left.as_ptr(), m).transposed() } else { Matrix::rows(left.as_ptr(), k) };
                let mut found = old.clone();
                let (b, c) = (Matrix::rows(right.as_ptr(), n), found.as_mut_ptr());
                multiply(&[Product { a, b, c, c_row: n, c_column: 1, m, n, k, add }]);
                for (i, found) in found.chunks(n).enumerate() {
                    let mut expected = if add { old[i * n..(i + 1) * n].to_vec() } else { vec![0.0; n] };
                    for p in 0..k {
                        let x = left[i * a.row + p * a.column];
                        for (sum, y) in expected.iter_mut().zip(&right[p * n..]) {
                            *sum += x * y;
                        }
                    }
                    assert!(found == expected, "row {i} of {m} {n} {k}, rows run down {down}, add {add}");
                }
            }
        }
    }
}
