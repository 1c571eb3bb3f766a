//! Matrix products in tiles whose sums stay in registers.
//!
//! A tile is up to `S::ROWS` rows by up to `COLUMNS` vectors of columns. The right-hand matrix is packed into panels as wide
//! as a tile, so that a tile reads it from front to back. Each sum is added up in the order of k whatever the tile's height,
//! so a row's numbers do not depend on which rows stand beside it.

use super::math::{load_n, store_n};
use super::simd::{COLUMNS, Kernel, Simd};
use crate::stop::Meter;

/// A matrix in memory: element (i, j) at `at + i * row + j * column`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    pub at: *const f32,
    pub row: usize,
    pub column: usize,
}

impl Matrix {
    pub fn rows(at: *const f32, row: usize) -> Self {
        Self { at, row, column: 1 }
    }

    pub fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// The matrix from element (i, j) on.
    pub fn from(self, i: usize, j: usize) -> Self {
        Self { at: self.at.wrapping_add(i * self.row + j * self.column), ..self }
    }
}

/// Sums of a tile += A B over `k`; B is a panel of `C` vectors a row.
#[allow(unsafe_code)]
#[inline(always)]
pub unsafe fn accumulate<S: Simd, const R: usize, const C: usize>(
    to: &mut [[S::Vector; C]; R],
    a: Matrix,
    k: usize,
    panel: *const f32,
) {
    // SAFETY: reads R rows of k numbers of `a` and k rows of a panel; the caller's pointers are good for them.
    unsafe {
        // A copy, or the compiler would store every sum in every turn.
        let mut sums = *to;
        let mut panel = panel;
        let mut at = a.at;
        for _ in 0..k {
            // The shorter side stays in registers and the longer one passes by: 12 sums and 3 rows leave AVX2 one register.
            if R < C {
                let mut x = [S::splat(0.0); R];
                let mut r = 0;
                while r < R {
                    x[r] = S::splat(*at.add(r * a.row));
                    r += 1;
                }
                let mut j = 0;
                while j < C {
                    let b = S::load(panel.add(j * S::LANES));
                    let mut r = 0;
                    while r < R {
                        sums[r][j] = S::fma(x[r], b, sums[r][j]);
                        r += 1;
                    }
                    j += 1;
                }
            } else {
                let mut b = [S::splat(0.0); C];
                let mut j = 0;
                while j < C {
                    b[j] = S::load(panel.add(j * S::LANES));
                    j += 1;
                }
                let mut r = 0;
                while r < R {
                    let x = S::splat(*at.add(r * a.row));
                    let mut j = 0;
                    while j < C {
                        sums[r][j] = S::fma(x, b[j], sums[r][j]);
                        j += 1;
                    }
                    r += 1;
                }
            }
            panel = panel.add(C * S::LANES);
            at = at.add(a.column);
        }
        *to = sums;
    }
}

/// Call `$tile::<S, R, C>($arguments)` for a height known at run time.
macro_rules! of_height {
    ($height:expr, $tile:ident::<$S:ident, $C:tt>($($argument:expr),*)) => {
        match $height {
            6 => $tile::<$S, 6, $C>($($argument),*),
            5 => $tile::<$S, 5, $C>($($argument),*),
            4 => $tile::<$S, 4, $C>($($argument),*),
            3 => $tile::<$S, 3, $C>($($argument),*),
            2 => $tile::<$S, 2, $C>($($argument),*),
            _ => $tile::<$S, 1, $C>($($argument),*),
        }
    };
}
pub(super) use of_height;

/// The height of the next tile when `rows` are left: tiles are as even as possible.
#[inline(always)]
pub fn height<S: Simd>(rows: usize, vectors: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most_rows::<S>(vectors)))
}

/// Rows of the highest tile with this number of vectors per row.
#[inline(always)]
fn most_rows<S: Simd>(vectors: usize) -> usize {
    (COLUMNS * S::ROWS / vectors).min(6)
}

/// Vectors in a panel for `columns` columns: 1, 2 or 4.
#[inline(always)]
pub fn panel_vectors(columns: usize, lanes: usize) -> usize {
    match columns.div_ceil(lanes) {
        1 => 1,
        2 => 2,
        _ => COLUMNS,
    }
}

/// Floats that the panels of a (k, n) matrix take.
pub fn packed_size(k: usize, n: usize, lanes: usize) -> usize {
    let wide = COLUMNS * lanes;
    let (panels, rest) = (n / wide, n % wide);
    k * (panels * wide + if rest > 0 { panel_vectors(rest, lanes) * lanes } else { 0 })
}

/// Pack columns `first..first + n` of B (k, ...) into rows of `fill` numbers, `width` apart, zeros where there is no column.
#[allow(unsafe_code)]
#[inline(always)]
pub unsafe fn pack_panel(b: Matrix, k: usize, first: usize, n: usize, (fill, width): (usize, usize), to: *mut f32) {
    /// Rows of a block small enough for the first cache.
    const BLOCK: usize = 16;
    // SAFETY: reads (k, n) numbers of B and writes k rows of the panel; the caller's pointers are good for them.
    unsafe {
        let b = b.from(0, first);
        if b.column == 1 {
            for p in 0..k {
                let row = to.add(p * width);
                std::ptr::copy_nonoverlapping(b.at.add(p * b.row), row, n);
                std::ptr::write_bytes(row.add(n), 0, fill - n);
            }
            return;
        }
        let mut p = 0;
        while p < k {
            let block = BLOCK.min(k - p);
            for j in 0..n {
                let column = b.at.add(j * b.column);
                for q in p..p + block {
                    *to.add(q * width + j) = *column.add(q * b.row);
                }
            }
            for q in p..p + block {
                std::ptr::write_bytes(to.add(q * width + n), 0, fill - n);
            }
            p += block;
        }
    }
}

/// Pack B (k, n) into panels, one after another.
#[allow(unsafe_code)]
pub unsafe fn pack(b: Matrix, k: usize, n: usize, lanes: usize, to: *mut f32) {
    let wide = COLUMNS * lanes;
    for first in (0..n).step_by(wide) {
        let columns = wide.min(n - first);
        let width = if columns == wide { wide } else { panel_vectors(columns, lanes) * lanes };
        // SAFETY: panels before this one take `k * first` floats.
        unsafe { pack_panel(b, k, first, columns, (width, width), to.add(k * first)) };
    }
}

/// Where a tile's sums go.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    pub at: *mut f32,
    pub row: usize,
    pub column: usize,
    /// Whether the sums start at what is there.
    pub add: bool,
    /// One number a column, where they start else; none for zero.
    pub bias: *const f32,
}

/// Rows of A (rows, k) times packed panels (k, n), into `out`.
#[allow(unsafe_code)]
#[inline(always)]
pub unsafe fn product<S: Simd>(
    a: Matrix,
    rows: usize,
    k: usize,
    panels: *const f32,
    n: usize,
    out: Out,
    meter: &mut Meter,
) {
    let wide = COLUMNS * S::LANES;
    for first in (0..n).step_by(wide) {
        let columns = wide.min(n - first);
        let vectors = if columns == wide { COLUMNS } else { panel_vectors(columns, S::LANES) };
        // SAFETY: as in `pack`.
        unsafe { strip::<S>(a, (rows, k), panels.add(k * first), vectors, (first, columns), out, meter) };
    }
}

/// Rows of A (rows, k) times one panel.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn strip<S: Simd>(
    a: Matrix,
    (rows, k): (usize, usize),
    panel: *const f32,
    vectors: usize,
    (first, columns): (usize, usize),
    out: Out,
    meter: &mut Meter,
) {
    let mut row = 0;
    while row < rows {
        let height = height::<S>(rows - row, vectors);
        // SAFETY: the caller's pointers are good for these rows and columns.
        unsafe {
            match vectors {
                1 => of_height!(height, tile::<S, 1>(a, row, k, panel, first, columns, out)),
                2 => of_height!(height, tile::<S, 2>(a, row, k, panel, first, columns, out)),
                _ => of_height!(height, tile::<S, 4>(a, row, k, panel, first, columns, out)),
            }
        }
        row += height;
        meter.add(height * k * columns);
    }
}

#[allow(unsafe_code)]
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const C: usize>(
    a: Matrix,
    row: usize,
    k: usize,
    panel: *const f32,
    first: usize,
    columns: usize,
    out: Out,
) {
    // SAFETY: writes R rows of `columns` numbers of `out`; the caller's pointers are good for them.
    unsafe {
        let mut sums = [[S::splat(0.0); C]; R];
        let mut r = 0;
        while r < R {
            let at = out.at.add((row + r) * out.row + first * out.column);
            let mut j = 0;
            while j < C {
                let lane = j * S::LANES;
                let n = columns.saturating_sub(lane).min(S::LANES);
                if n > 0 && out.add {
                    sums[r][j] = get::<S>(at.add(lane * out.column), out.column, n);
                } else if n > 0 && !out.bias.is_null() {
                    sums[r][j] = load_n::<S>(out.bias.add(first + lane), n);
                }
                j += 1;
            }
            r += 1;
        }
        accumulate::<S, R, C>(&mut sums, a.from(row, 0), k, panel);
        let mut r = 0;
        while r < R {
            let at = out.at.add((row + r) * out.row + first * out.column);
            let mut j = 0;
            while j < C {
                let lane = j * S::LANES;
                let n = columns.saturating_sub(lane).min(S::LANES);
                if n > 0 {
                    put::<S>(at.add(lane * out.column), out.column, sums[r][j], n);
                }
                j += 1;
            }
            r += 1;
        }
    }
}

/// n numbers, `column` apart.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn get<S: Simd>(from: *const f32, column: usize, n: usize) -> S::Vector {
    // SAFETY: reads n numbers, `column` apart; the caller's pointer is good for them.
    unsafe {
        if column == 1 {
            return load_n::<S>(from, n);
        }
        let mut whole = [0.0; 16];
        for (lane, x) in whole.iter_mut().enumerate().take(n) {
            *x = *from.add(lane * column);
        }
        S::load(whole.as_ptr())
    }
}

/// The reverse of `get`.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn put<S: Simd>(to: *mut f32, column: usize, x: S::Vector, n: usize) {
    // SAFETY: writes n numbers, `column` apart; the caller's pointer is good for them.
    unsafe {
        if column == 1 {
            return store_n::<S>(to, x, n);
        }
        let mut whole = [0.0; 16];
        S::store(whole.as_mut_ptr(), x);
        for (lane, x) in whole.iter().enumerate().take(n) {
            *to.add(lane * column) = *x;
        }
    }
}

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

/// Rows of A in a block, which passes by every panel.
const HEIGHT: usize = 384;
/// k in a block: the longer, the more rarely sums go to memory and back; a panel of so many rows stays in the second cache.
const DEPTH: usize = 1024;
/// Panels of B in a block, which are packed together.
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
        // Rows that run along k are read where they are; others are packed side by side. For few panels the copy should be
        // quick, so that many rows are copied at once, of which only few fit the first cache; else tiles should be.
        let in_place = a.column == 1;
        let (group, depth) = match n1 - n0 {
            _ if in_place => (HEIGHT, DEPTH),
            few if few < 8 * wide => (S::GROUP, 16 * S::LANES),
            _ => (S::ROWS, DEPTH),
        };
        let (depth, width) = (depth.min(k), (PANELS * wide).min(n1 - n0));
        let mut buffer = super::Scratch::take();
        let panels = buffer.0.reserve(packed_size(depth, width, S::LANES) + depth * HEIGHT);
        let packed = panels.wrapping_add(packed_size(depth, width, S::LANES));
        let mut meter = Meter::default();
        for p in (0..k.max(1)).step_by(depth.max(1)) {
            let depth = depth.min(k - p);
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
                                let add = add || p > 0;
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
