//! Matrix products in tiles whose sums stay in registers.
//!
//! A tile is up to `S::ROWS` rows by up to `COLUMNS` vectors of columns. The right-hand matrix is packed into panels as wide
//! as a tile, so that a tile reads it from front to back. Each sum is added up in the order of k whatever the tile's height,
//! so a row's numbers do not depend on which rows stand beside it.

use super::math::{load_n, store_n};
use super::simd::{COLUMNS, Simd};
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
pub unsafe fn strip<S: Simd>(
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
