//! One stack over some rows of a batch, forward and backward, through all its time steps.
//!
//! Rows of a batch are independent, so each thread takes its own through the whole time loop without waiting for another.
//!
//! This file is longer than 450 lines because both directions share their tiles. Whether sums of the inner loops stay in
//! registers depends on what the compiler inlines here; look at the machine code after a change.

use super::math::{load_n, sigmoid, store_n, tanh};
use super::product::{Matrix, Out, accumulate, height, of_height, product};
use super::simd::{COLUMNS, Kernel, Simd};
use crate::stop::Meter;

/// One layer's weights, packed for the forward pass: for every `LANES` units a panel whose row holds, for one input, the
/// weights of the four gates of those units; the layer's inputs come first, then h.
#[derive(Debug, Clone, Copy)]
pub struct ForwardLayer {
    /// 0 where the layer has no input.
    pub inputs: usize,
    pub panels: *const f32,
    /// Both biases added up, four vectors for every `LANES` units: in the first step, and after it.
    pub first_bias: *const f32,
    pub bias: *const f32,
    /// (3H), or null without peepholes.
    pub peepholes: *const f32,
    /// (T + 1, B, H), (T + 1, B, H), (T, B, 4H); null in evaluation.
    pub h: *mut f32,
    pub c: *mut f32,
    pub gates: *mut f32,
    /// (T, B, H) or null.
    pub dropout: *const f32,
}

/// What the bottom layer is fed.
#[derive(Debug, Clone, Copy)]
pub enum ForwardFeed {
    /// (T, B, D)
    Frames(*const f32),
    Nothing,
    /// The last output as it is, in place.
    Output,
    /// The last output as h of the top layer, which the input weights have been folded for.
    Folded,
    /// The last output's sigmoid, or the truth where its mask (T, B) says so. `buffer` is (`ring`, B, D).
    Mixed {
        buffer: *mut f32,
        ring: usize,
        sigmoid: bool,
        truth: *const f32,
        mask: *const f32,
    },
}

/// A decoder's readout.
#[derive(Debug, Clone, Copy)]
pub struct ForwardReadout {
    pub size: usize,
    pub panels: *const f32,
    pub bias: *const f32,
    /// (T, B, D)
    pub outputs: *mut f32,
}

/// A forward pass over rows `first..first + rows`.
#[derive(Debug)]
pub struct Forward<'a> {
    pub steps: usize,
    pub batch: usize,
    pub hidden: usize,
    pub first: usize,
    pub rows: usize,
    pub layers: &'a [ForwardLayer],
    pub feed: ForwardFeed,
    pub readout: Option<ForwardReadout>,
    /// (T, B) or null.
    pub valid: *const f32,
    /// h and c, (L, B, H); null for zeros.
    pub initial: (*const f32, *const f32),
    /// h and c, (L, B, H).
    pub last: (*mut f32, *mut f32),
}

/// The cell of one layer at one step, over the rows of a pass.
struct Cells {
    x: Matrix,
    inputs: usize,
    h: Matrix,
    /// H, or 0 where h is zero.
    recurrent: usize,
    panels: *const f32,
    panel_rows: usize,
    bias: *const f32,
    peepholes: *const f32,
    hidden: usize,
    c_before: *const f32,
    h_after: *mut f32,
    c_after: *mut f32,
    gates: *mut f32,
    /// One number a row, or null.
    valid: *const f32,
}

impl Kernel for Forward<'_> {
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn run<S: Simd>(&self) {
        let (rows, hidden, layers) = (self.rows, self.hidden, self.layers.len());
        let state = rows * hidden;
        // Two turns of h and one c a layer, and what dropout leaves of an h.
        let mut buffer = super::Scratch::take();
        let scratch = buffer.0.reserve((3 * layers + 1) * state);
        let mut meter = Meter::default();
        {
            // SAFETY: scratch is as large as said; all other pointers are good for the shapes that their fields name, and
            // no other thread touches these rows.
            unsafe {
                let turn = |t: usize, l: usize| scratch.add(((t % 2) * layers + l) * state);
                let cell = |l: usize| scratch.add((2 * layers + l) * state);
                let dropped = scratch.add(3 * layers * state);
                let row_of = |t: usize| t * self.batch + self.first;

                for (l, layer) in self.layers.iter().enumerate() {
                    let start = (l * self.batch + self.first) * hidden;
                    let (h, c) = if layer.h.is_null() {
                        (turn(0, l), cell(l))
                    } else {
                        (layer.h.add(self.first * hidden), layer.c.add(self.first * hidden))
                    };
                    begin(h, self.initial.0, start, state);
                    begin(c, self.initial.1, start, state);
                }

                for t in 0..self.steps {
                    let mut x = match (self.feed, self.layers.last()) {
                        (ForwardFeed::Folded, Some(top)) if t > 0 => {
                            let h = if top.h.is_null() { turn(t, layers - 1) } else { top.h.add(row_of(t) * hidden) };
                            Some(Matrix::rows(h, hidden))
                        }
                        _ => self.input(t),
                    };
                    for (l, layer) in self.layers.iter().enumerate() {
                        let (before, after) = (row_of(t) * hidden, row_of(t + 1) * hidden);
                        let (h_before, h_after, c_before, c_after, gates) = if layer.h.is_null() {
                            (turn(t, l), turn(t + 1, l), cell(l), cell(l), layer.gates)
                        } else {
                            let (h, c) = (layer.h, layer.c);
                            (h.add(before), h.add(after), c.add(before), c.add(after), layer.gates.add(4 * before))
                        };
                        cells::<S>(
                            &Cells {
                                x: x.unwrap_or(Matrix::rows(std::ptr::null(), 0)),
                                inputs: if x.is_some() { layer.inputs } else { 0 },
                                h: Matrix::rows(h_before, hidden),
                                recurrent: if t == 0 && self.initial.0.is_null() { 0 } else { hidden },
                                panels: layer.panels,
                                panel_rows: layer.inputs + hidden,
                                bias: if t == 0 { layer.first_bias } else { layer.bias },
                                peepholes: layer.peepholes,
                                hidden,
                                c_before,
                                h_after,
                                c_after,
                                gates,
                                valid: if self.valid.is_null() { self.valid } else { self.valid.add(row_of(t)) },
                            },
                            rows,
                            &mut meter,
                        );
                        x = Some(Matrix::rows(h_after, hidden));
                        if !layer.dropout.is_null() {
                            multiply::<S>(h_after, layer.dropout.add(before), dropped, state);
                            x = Some(Matrix::rows(dropped, hidden));
                        }
                    }
                    if let (Some(readout), Some(top)) = (&self.readout, x) {
                        let at = readout.outputs.add(row_of(t) * readout.size);
                        let out = Out { at, row: readout.size, column: 1, add: false, bias: readout.bias };
                        product::<S>(top, rows, hidden, readout.panels, readout.size, out, &mut meter);
                        self.feed_back::<S>(t, at, readout.size);
                    }
                }

                for (l, layer) in self.layers.iter().enumerate() {
                    let end = row_of(self.steps) * hidden;
                    let (h, c) = if layer.h.is_null() {
                        (turn(self.steps, l), cell(l))
                    } else {
                        (layer.h.add(end), layer.c.add(end))
                    };
                    let start = (l * self.batch + self.first) * hidden;
                    std::ptr::copy_nonoverlapping(h, self.last.0.add(start), state);
                    std::ptr::copy_nonoverlapping(c, self.last.1.add(start), state);
                }
            }
        }
    }
}

impl Forward<'_> {
    /// What the bottom layer is fed at step t; none for a zero frame.
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn input(&self, t: usize) -> Option<Matrix> {
        let size = self.layers[0].inputs;
        let row = |t: usize| (t * self.batch + self.first) * size;
        // SAFETY: steps lie within the buffers' shapes.
        unsafe {
            match (self.feed, &self.readout) {
                (ForwardFeed::Frames(frames), _) => Some(Matrix::rows(frames.add(row(t)), size)),
                (ForwardFeed::Output, Some(readout)) if t > 0 => {
                    Some(Matrix::rows(readout.outputs.add(row(t - 1)), size))
                }
                (ForwardFeed::Mixed { buffer, ring, .. }, _) if t > 0 => {
                    Some(Matrix::rows(buffer.add(row(t % ring)), size))
                }
                _ => None,
            }
        }
    }

    /// Make the next step's input of the output at `from`.
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn feed_back<S: Simd>(&self, t: usize, from: *const f32, size: usize) {
        let ForwardFeed::Mixed { buffer, ring, sigmoid: activate, truth, mask } = self.feed else { return };
        let next = t + 1;
        if next == self.steps {
            return;
        }
        // SAFETY: `next` lies within the buffers' shapes.
        unsafe {
            for r in 0..self.rows {
                let row = self.first + r;
                let to = buffer.add(((next % ring) * self.batch + row) * size);
                if !mask.is_null() && *mask.add(next * self.batch + row) != 0.0 {
                    std::ptr::copy_nonoverlapping(truth.add((next * self.batch + row) * size), to, size);
                    continue;
                }
                let from = from.add(r * size);
                for lane in (0..size).step_by(S::LANES) {
                    let n = S::LANES.min(size - lane);
                    let x = load_n::<S>(from.add(lane), n);
                    store_n::<S>(to.add(lane), if activate { sigmoid::<S>(x) } else { x }, n);
                }
            }
        }
    }
}

#[allow(unsafe_code)]
#[inline(always)]
unsafe fn begin(to: *mut f32, initial: *const f32, start: usize, n: usize) {
    // SAFETY: `to` has n numbers, `initial` n from `start` on unless it is null.
    unsafe {
        if initial.is_null() {
            std::ptr::write_bytes(to, 0, n);
        } else {
            std::ptr::copy_nonoverlapping(initial.add(start), to, n);
        }
    }
}

#[allow(unsafe_code)]
#[inline(always)]
unsafe fn multiply<S: Simd>(a: *const f32, b: *const f32, to: *mut f32, n: usize) {
    for lane in (0..n).step_by(S::LANES) {
        let rest = n - lane;
        // SAFETY: all three have n numbers.
        unsafe {
            store_n::<S>(to.add(lane), S::mul(load_n::<S>(a.add(lane), rest), load_n::<S>(b.add(lane), rest)), rest);
        }
    }
}

/// gates_t = x_t W_ih' + h_{t-1} W_hh' + b, and the cell on the sums while they are in registers.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn cells<S: Simd>(cells: &Cells, rows: usize, meter: &mut Meter) {
    for block in 0..cells.hidden.div_ceil(S::LANES) {
        let mut row = 0;
        while row < rows {
            let height = height::<S>(rows - row, COLUMNS);
            // SAFETY: rows and block lie within the shapes.
            unsafe { of_height!(height, cell_tile::<S, 4>(cells, row, block)) };
            row += height;
            meter.add(height * COLUMNS * S::LANES * (cells.inputs + cells.recurrent));
        }
    }
}

#[allow(unsafe_code)]
#[inline(always)]
unsafe fn cell_tile<S: Simd, const R: usize, const C: usize>(cells: &Cells, row: usize, block: usize) {
    let Cells { hidden, inputs, recurrent, .. } = *cells;
    let unit = block * S::LANES;
    let n = S::LANES.min(hidden - unit);
    let width = C * S::LANES;
    // SAFETY: reads and writes n units of R rows, within the shapes that `Cells` names.
    unsafe {
        let bias = cells.bias.add(block * width);
        let mut sums = [[S::splat(0.0); C]; R];
        let mut r = 0;
        while r < R {
            let mut j = 0;
            while j < C {
                sums[r][j] = S::load(bias.add(j * S::LANES));
                j += 1;
            }
            r += 1;
        }
        let panel = cells.panels.add(block * cells.panel_rows * width);
        accumulate::<S, R, C>(&mut sums, cells.x.from(row, 0), inputs, panel);
        let recurrent_panel = panel.add((cells.panel_rows - hidden) * width);
        accumulate::<S, R, C>(&mut sums, cells.h.from(row, 0), recurrent, recurrent_panel);

        if n == S::LANES {
            finish::<S, R, C, true>(cells, &sums, row, unit);
        } else {
            finish::<S, R, C, false>(cells, &sums, row, unit);
        }
    }
}

/// The cell, on the gates' sums of R rows; `WHOLE` where its units fill a vector.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn finish<S: Simd, const R: usize, const C: usize, const WHOLE: bool>(
    cells: &Cells,
    sums: &[[S::Vector; C]; R],
    row: usize,
    unit: usize,
) {
    let hidden = cells.hidden;
    let n = if WHOLE { S::LANES } else { hidden - unit };
    // SAFETY: reads and writes n units of R rows, within the shapes that `Cells` names.
    unsafe {
        let mut r = 0;
        while r < R {
            let at = (row + r) * hidden + unit;
            let [mut i, mut f, g, mut o] = [sums[r][0], sums[r][1], sums[r][2], sums[r][3]];
            let c_before = load_n::<S>(cells.c_before.add(at), n);
            if !cells.peepholes.is_null() {
                i = S::fma(load_n::<S>(cells.peepholes.add(unit), n), c_before, i);
                f = S::fma(load_n::<S>(cells.peepholes.add(hidden + unit), n), c_before, f);
            }
            let (i, f, g) = (sigmoid::<S>(i), sigmoid::<S>(f), tanh::<S>(g));
            let mut c = S::fma(f, c_before, S::mul(i, g));
            if !cells.peepholes.is_null() {
                o = S::fma(load_n::<S>(cells.peepholes.add(2 * hidden + unit), n), c, o);
            }
            let o = sigmoid::<S>(o);
            let mut h = S::mul(o, tanh::<S>(c));
            if !cells.valid.is_null() {
                let valid = S::splat(*cells.valid.add(row + r));
                c = S::mul(c, valid);
                h = S::mul(h, valid);
            }
            store_n::<S>(cells.c_after.add(at), c, n);
            store_n::<S>(cells.h_after.add(at), h, n);
            if !cells.gates.is_null() {
                let gates = cells.gates.add((row + r) * 4 * hidden + unit);
                store_n::<S>(gates, i, n);
                store_n::<S>(gates.add(hidden), f, n);
                store_n::<S>(gates.add(2 * hidden), g, n);
                store_n::<S>(gates.add(3 * hidden), o, n);
            }
            r += 1;
        }
    }
}

/// The backward pass of one layer over rows `first..first + rows`.
#[derive(Debug, Clone, Copy)]
pub struct Backward {
    pub steps: usize,
    pub batch: usize,
    pub hidden: usize,
    pub first: usize,
    pub rows: usize,
    /// (4H, H) in panels.
    pub recurrent: *const f32,
    /// (3H), or null without peepholes.
    pub peepholes: *const f32,
    /// The trace: (T + 1, B, H) and (T, B, 4H).
    pub c: *const f32,
    pub gates: *const f32,
    /// (T, B, H): the gradient at h of every step from above; null for zeros.
    pub above: *const f32,
    /// (T, B) or null.
    pub valid: *const f32,
    /// (B, H) each: the gradient at the last state; null for zeros.
    pub last: (*const f32, *const f32),
    /// (T, B, 4H)
    pub d_gates: *mut f32,
    /// (B, H) each: the gradient at the initial state; null if it is not requested.
    pub initial: (*mut f32, *mut f32),
}

impl Kernel for Backward {
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn run<S: Simd>(&self) {
        let (rows, hidden) = (self.rows, self.hidden);
        let state = rows * hidden;
        let mut buffer = super::Scratch::take();
        let dh = buffer.0.reserve(2 * state);
        let mut meter = Meter::default();
        {
            // SAFETY: scratch is as large as said; all other pointers are good for the shapes that their fields name, and
            // no other thread touches these rows.
            unsafe {
                let dc = dh.add(state);
                begin(dh, self.last.0, self.first * hidden, state);
                begin(dc, self.last.1, self.first * hidden, state);
                for t in (0..self.steps).rev() {
                    self.cells::<S>(t, dh, dc);
                    // About what a cell costs.
                    meter.add(64 * state);
                    // dh_{t-1} = dgates_t W_hh: the only product that must go step by step.
                    if t > 0 || !self.initial.0.is_null() {
                        let d_gates = self.d_gates.add((t * self.batch + self.first) * 4 * hidden);
                        let a = Matrix::rows(d_gates, 4 * hidden);
                        let out = Out { at: dh, row: hidden, column: 1, add: false, bias: std::ptr::null() };
                        product::<S>(a, rows, 4 * hidden, self.recurrent, hidden, out, &mut meter);
                    }
                }
                if !self.initial.0.is_null() {
                    std::ptr::copy_nonoverlapping(dh, self.initial.0.add(self.first * hidden), state);
                    std::ptr::copy_nonoverlapping(dc, self.initial.1.add(self.first * hidden), state);
                }
            }
        }
    }
}

impl Backward {
    /// The cell's backward pass at step t: dgates_t, and dc_{t-1} in place of dc_t.
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn cells<S: Simd>(&self, t: usize, dh: *mut f32, dc: *mut f32) {
        let whole = self.hidden / S::LANES * S::LANES;
        // SAFETY: rows and units lie within the shapes that the fields name.
        unsafe {
            for r in 0..self.rows {
                for unit in (0..whole).step_by(S::LANES) {
                    self.units::<S, true>(t, r, unit, dh, dc);
                }
                if whole < self.hidden {
                    self.units::<S, false>(t, r, whole, dh, dc);
                }
            }
        }
    }

    /// The same for a row's vector of units; `WHOLE` where they fill it.
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn units<S: Simd, const WHOLE: bool>(&self, t: usize, r: usize, unit: usize, dh: *mut f32, dc: *mut f32) {
        let hidden = self.hidden;
        let n = if WHOLE { S::LANES } else { hidden - unit };
        // SAFETY: reads and writes n units of the row, within the shapes that the fields name.
        unsafe {
            let one = S::splat(1.0);
            let row = t * self.batch + self.first + r;
            let at = row * hidden + unit;
            let mine = r * hidden + unit;
            let (mut d_h, mut d_c) = (load_n::<S>(dh.add(mine), n), load_n::<S>(dc.add(mine), n));
            if !self.above.is_null() {
                d_h = S::add(d_h, load_n::<S>(self.above.add(at), n));
            }
            if !self.valid.is_null() {
                let valid = S::splat(*self.valid.add(row));
                d_h = S::mul(d_h, valid);
                d_c = S::mul(d_c, valid);
            }
            let gates = self.gates.add(row * 4 * hidden + unit);
            let i = load_n::<S>(gates, n);
            let f = load_n::<S>(gates.add(hidden), n);
            let g = load_n::<S>(gates.add(2 * hidden), n);
            let o = load_n::<S>(gates.add(3 * hidden), n);
            let c_before = load_n::<S>(self.c.add(at), n);
            let c = load_n::<S>(self.c.add(at + self.batch * hidden), n);
            let tanh_c = tanh::<S>(c);

            let d_o = S::mul(S::mul(S::mul(d_h, tanh_c), o), S::sub(one, o));
            // dc += dh o (1 - tanh(c)^2)
            let slope = S::sub(one, S::mul(tanh_c, tanh_c));
            d_c = S::fma(S::mul(d_h, o), slope, d_c);
            if !self.peepholes.is_null() {
                d_c = S::fma(d_o, load_n::<S>(self.peepholes.add(2 * hidden + unit), n), d_c);
            }
            let d_gates = [
                S::mul(S::mul(S::mul(d_c, g), i), S::sub(one, i)),
                S::mul(S::mul(S::mul(d_c, c_before), f), S::sub(one, f)),
                S::mul(S::mul(d_c, i), S::sub(one, S::mul(g, g))),
                d_o,
            ];
            let mut d_c_before = S::mul(d_c, f);
            if !self.peepholes.is_null() {
                let [d_i, d_f, _, _] = d_gates;
                d_c_before = S::fma(d_i, load_n::<S>(self.peepholes.add(unit), n), d_c_before);
                d_c_before = S::fma(d_f, load_n::<S>(self.peepholes.add(hidden + unit), n), d_c_before);
            }
            store_n::<S>(dc.add(mine), d_c_before, n);
            let to = self.d_gates.add(row * 4 * hidden + unit);
            let mut gate = 0;
            while gate < COLUMNS {
                store_n::<S>(to.add(gate * hidden), d_gates[gate], n);
                gate += 1;
            }
        }
    }
}

/// The sums of the columns `first..end` of d, or of d x, over all rows; in an order that the number of rows alone fixes.
#[derive(Debug, Clone, Copy)]
pub struct ColumnSums {
    pub rows: usize,
    pub first: usize,
    pub end: usize,
    /// A row every `d_row` and `x_row` numbers; x may be null.
    pub d: *const f32,
    pub d_row: usize,
    pub x: *const f32,
    pub x_row: usize,
    pub to: *mut f32,
}

impl Kernel for ColumnSums {
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn run<S: Simd>(&self) {
        // SAFETY: the caller enables the instruction set.
        let zero = unsafe { S::splat(0.0) };
        let mut meter = Meter::default();
        for column in (self.first..self.end).step_by(COLUMNS * S::LANES) {
            // Neighbours in memory, and even and odd rows by themselves: no addition waits for the one before.
            let mut sums = [[zero; COLUMNS]; 2];
            // SAFETY: reads `rows` rows of these columns and writes their sums; the caller's pointers are good for them.
            unsafe {
                for row in 0..self.rows {
                    let mut j = 0;
                    while j < COLUMNS {
                        let at = column + j * S::LANES;
                        let n = self.end.saturating_sub(at);
                        if n > 0 {
                            let d = load_n::<S>(self.d.add(row * self.d_row + at), n);
                            sums[row % 2][j] = if self.x.is_null() {
                                S::add(sums[row % 2][j], d)
                            } else {
                                S::fma(d, load_n::<S>(self.x.add(row * self.x_row + at), n), sums[row % 2][j])
                            };
                        }
                        j += 1;
                    }
                }
                let mut j = 0;
                while j < COLUMNS {
                    let at = column + j * S::LANES;
                    let n = self.end.saturating_sub(at);
                    if n > 0 {
                        store_n::<S>(self.to.add(at), S::add(sums[0][j], sums[1][j]), n);
                    }
                    j += 1;
                }
            }
            // Memory bounds this, so a number costs more than a multiplication.
            meter.add(8 * self.rows * COLUMNS * S::LANES);
        }
    }
}
