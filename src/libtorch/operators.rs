//! Operators, by the schemas of release 2.11. To use another one of tch's, define its C function here: CONTRIBUTING.md.
#![allow(unsafe_code, reason = "C functions; each passes what its operator's schema names, and tch tensors that live")]

use std::ffi::{CStr, c_int};

use super::stable::Handle;
use super::value::{
    NONE, call, device, dtype as kind, dtype_or_none, integer_or_none, integers, some, tensor, tensors,
};

type Out = *mut Handle;

/// Operators of tensors alone.
macro_rules! of_tensors {
    ($($name:ident($($argument:ident),+) $op:literal $overload:literal;)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(out: Out, $($argument: Handle),+) {
            unsafe { call(out, 1, $op, $overload, &[$(tensor($argument)),+]) }
        }
    )* };
}

of_tensors! {
    atg_abs(a) c"aten::abs" c"";
    atg_bmm(a, b) c"aten::bmm" c"";
    atg_div(a, b) c"aten::div" c"Tensor";
    atg_exp(a) c"aten::exp" c"";
    atg_isfinite(a) c"aten::isfinite" c"";
    atg_isinf(a) c"aten::isinf" c"";
    atg_isnan(a) c"aten::isnan" c"";
    atg_log1p(a) c"aten::log1p" c"";
    atg_logical_not(a) c"aten::logical_not" c"";
    atg_logical_or(a, b) c"aten::logical_or" c"";
    atg_matmul(a, b) c"aten::matmul" c"";
    atg_maximum(a, b) c"aten::maximum" c"";
    atg_mul(a, b) c"aten::mul" c"Tensor";
    atg_mul_(a, b) c"aten::mul_" c"Tensor";
    atg_mv(a, b) c"aten::mv" c"";
    atg_neg(a) c"aten::neg" c"";
    atg_sigmoid(a) c"aten::sigmoid" c"";
    atg_sqrt(a) c"aten::sqrt" c"";
    atg_square(a) c"aten::square" c"";
    atg_t(a) c"aten::t" c"";
    atg_tanh(a) c"aten::tanh" c"";
    atg_view_as(a, b) c"aten::view_as" c"";
    atg_where_self(condition, a, b) c"aten::where" c"self";
    atg_zero_(a) c"aten::zero_" c"";
}

/// Operators with other arguments: how each becomes a value, in the order of the schema.
macro_rules! operators {
    ($($name:ident($($argument:ident: $type:ty),*) $op:literal $overload:literal [$($value:expr),*];)*) => { $(
        #[unsafe(no_mangle)]
        #[allow(clippy::too_many_arguments)]
        pub unsafe extern "C" fn $name(out: Out, $($argument: $type),*) {
            unsafe { call(out, 1, $op, $overload, &[$($value),*]) }
        }
    )* };
}

operators! {
    atg_any_dim(a: Handle, dim: i64, keep: c_int) c"aten::any" c"dim" [tensor(a), dim as u64, keep as u64];
    atg_argmax(a: Handle, dim: i64, no_dim: i8, keep: c_int) c"aten::argmax" c""
        [tensor(a), integer_or_none(dim, no_dim), keep as u64];
    atg_argmin(a: Handle, dim: i64, no_dim: i8, keep: c_int) c"aten::argmin" c""
        [tensor(a), integer_or_none(dim, no_dim), keep as u64];
    atg_as_strided(a: Handle, sizes: *const i64, n: c_int, strides: *const i64, m: c_int, offset: i64, no_offset: i8)
        c"aten::as_strided" c""
        [tensor(a), integers(sizes, n), integers(strides, m), integer_or_none(offset, no_offset)];
    atg_bmm_dtype(a: Handle, b: Handle, dtype: c_int) c"aten::bmm" c"dtype" [tensor(a), tensor(b), kind(dtype)];
    atg_cat(list: *const Handle, n: c_int, dim: i64) c"aten::cat" c"" [tensors(list, n), dim as u64];
    atg_contiguous(a: Handle) c"aten::contiguous" c"" [tensor(a), 0];
    atg_empty(sizes: *const i64, n: c_int, dtype: c_int, on: c_int) c"aten::empty" c"memory_format"
        [integers(sizes, n), some(kind(dtype)), NONE, some(device(on)), NONE, NONE];
    atg_empty_like(a: Handle) c"aten::empty_like" c"" [tensor(a), NONE, NONE, NONE, NONE, NONE];
    atg_expand(a: Handle, sizes: *const i64, n: c_int, implicit: c_int) c"aten::expand" c""
        [tensor(a), integers(sizes, n), implicit as u64];
    atg_flatten(a: Handle, start: i64, end: i64) c"aten::flatten" c"using_ints" [tensor(a), start as u64, end as u64];
    atg_flip(a: Handle, dims: *const i64, n: c_int) c"aten::flip" c"" [tensor(a), integers(dims, n)];
    atg_gather(a: Handle, dim: i64, index: Handle, sparse: c_int) c"aten::gather" c""
        [tensor(a), dim as u64, tensor(index), sparse as u64];
    atg_index_select(a: Handle, dim: i64, index: Handle) c"aten::index_select" c""
        [tensor(a), dim as u64, tensor(index)];
    atg_log_softmax(a: Handle, dim: i64, dtype: c_int) c"aten::log_softmax" c"int"
        [tensor(a), dim as u64, dtype_or_none(dtype)];
    atg_mm_dtype_out(into: Handle, a: Handle, b: Handle, dtype: c_int) c"aten::mm" c"dtype_out"
        [tensor(a), tensor(b), kind(dtype), tensor(into)];
    atg_mm_out(into: Handle, a: Handle, b: Handle) c"aten::mm" c"out" [tensor(a), tensor(b), tensor(into)];
    atg_narrow(a: Handle, dim: i64, start: i64, length: i64) c"aten::narrow" c""
        [tensor(a), dim as u64, start as u64, length as u64];
    // `norm` has a Scalar; `linalg_norm` without an order is the same norm of all numbers.
    atg_norm(a: Handle) c"aten::linalg_norm" c"" [tensor(a), NONE, NONE, 0, NONE];
    atg_ones(sizes: *const i64, n: c_int, dtype: c_int, on: c_int) c"aten::ones" c""
        [integers(sizes, n), some(kind(dtype)), NONE, some(device(on)), NONE];
    atg_reshape(a: Handle, sizes: *const i64, n: c_int) c"aten::reshape" c"" [tensor(a), integers(sizes, n)];
    atg_roll(a: Handle, shifts: *const i64, n: c_int, dims: *const i64, m: c_int) c"aten::roll" c""
        [tensor(a), integers(shifts, n), integers(dims, m)];
    atg_scatter_add_(a: Handle, dim: i64, index: Handle, from: Handle) c"aten::scatter_add_" c""
        [tensor(a), dim as u64, tensor(index), tensor(from)];
    atg_select(a: Handle, dim: i64, index: i64) c"aten::select" c"int" [tensor(a), dim as u64, index as u64];
    atg_softmax(a: Handle, dim: i64, dtype: c_int) c"aten::softmax" c"int"
        [tensor(a), dim as u64, dtype_or_none(dtype)];
    atg_squeeze_dim(a: Handle, dim: i64) c"aten::squeeze" c"dim" [tensor(a), dim as u64];
    atg_stack(list: *const Handle, n: c_int, dim: i64) c"aten::stack" c"" [tensors(list, n), dim as u64];
    atg_sum(a: Handle, dtype: c_int) c"aten::sum" c"" [tensor(a), dtype_or_none(dtype)];
    atg_sum_dim_intlist(a: Handle, dims: *const i64, n: c_int, keep: c_int, dtype: c_int) c"aten::sum" c"dim_IntList"
        [
            tensor(a),
            if dims.is_null() { NONE } else { some(integers(dims, n)) },
            keep as u64,
            dtype_or_none(dtype)
        ];
    atg_to(a: Handle, on: c_int) c"aten::to" c"dtype_layout"
        [tensor(a), NONE, NONE, some(device(on)), NONE, 0, 0, NONE];
    atg_to_device(a: Handle, on: c_int, dtype: c_int, non_blocking: c_int, copy: c_int) c"aten::to" c"device"
        [tensor(a), device(on), kind(dtype), non_blocking as u64, copy as u64, NONE];
    atg_totype(a: Handle, dtype: c_int) c"aten::to" c"dtype_layout"
        [tensor(a), some(kind(dtype)), NONE, NONE, NONE, 0, 0, NONE];
    atg_transpose(a: Handle, dim: i64, other: i64) c"aten::transpose" c"int" [tensor(a), dim as u64, other as u64];
    atg_unsqueeze(a: Handle, dim: i64) c"aten::unsqueeze" c"" [tensor(a), dim as u64];
    atg_view(a: Handle, sizes: *const i64, n: c_int) c"aten::view" c"" [tensor(a), integers(sizes, n)];
    atg_zeros(sizes: *const i64, n: c_int, dtype: c_int, on: c_int) c"aten::zeros" c""
        [integers(sizes, n), some(kind(dtype)), NONE, some(device(on)), NONE];
    atg_zeros_like(a: Handle) c"aten::zeros_like" c"" [tensor(a), NONE, NONE, NONE, NONE, NONE];
}

/// The smallest and the largest number: two results.
#[unsafe(no_mangle)]
unsafe extern "C" fn atg_aminmax(out: Out, a: Handle, dim: i64, no_dim: i8, keep: c_int) {
    const OP: &CStr = c"aten::aminmax";
    unsafe { call(out, 2, OP, c"", &[tensor(a), integer_or_none(dim, no_dim), keep as u64]) }
}
