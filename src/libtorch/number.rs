//! Operators with a number among their arguments. The stable interface passes no `Scalar`, so a number becomes a tensor
//! without dimensions, which gives the same result.
#![allow(unsafe_code, reason = "C functions; tch passes tensors and numbers that live")]

use std::ffi::{c_int, c_void};

use super::failure::checked;
use super::operators::{atg_empty, atg_empty_like, atg_totype};
use super::stable::{self, Handle};
use super::tensor::{at_free, at_scalar_type, dims};
use super::value::{call, tensor};

pub enum Number {
    Integer(i64),
    Float(f64),
}

#[unsafe(no_mangle)]
extern "C" fn ats_int(value: i64) -> *mut c_void {
    Box::into_raw(Box::new(Number::Integer(value))).cast()
}

#[unsafe(no_mangle)]
extern "C" fn ats_float(value: f64) -> *mut c_void {
    Box::into_raw(Box::new(Number::Float(value))).cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ats_free(number: *mut c_void) {
    // SAFETY: made by one of the two above.
    drop(unsafe { Box::from_raw(number.cast::<Number>()) });
}

const DOUBLE: c_int = 7;

fn is_floating(dtype: c_int) -> bool {
    const HALF: c_int = 5;
    const FLOAT: c_int = 6;
    const BFLOAT16: c_int = 15;
    matches!(dtype, HALF | FLOAT | DOUBLE | BFLOAT16)
}

/// A number as a tensor without dimensions that leaves the dtype of `beside` as the number would.
unsafe fn beside(number: *const c_void, beside: Handle) -> Handle {
    let mut out = std::ptr::null_mut();
    // SAFETY: a number made above.
    unsafe {
        let dtype = at_scalar_type(beside);
        match *number.cast::<Number>() {
            Number::Integer(value) => stable::aoti_torch_scalar_to_tensor_int64(value, &raw mut out),
            // Beside integers a number gives the default dtype, float32.
            Number::Float(value) if !is_floating(dtype) => {
                stable::aoti_torch_scalar_to_tensor_float32(value as f32, &raw mut out)
            }
            Number::Float(value) => stable::aoti_torch_scalar_to_tensor_float64(value, &raw mut out),
        };
        // Of two tensors without dimensions the wider dtype wins; a number never does.
        if is_floating(dtype) && dtype != DOUBLE && dims(beside) == 0 {
            let wide = out;
            atg_totype(&raw mut out, wide, dtype);
            at_free(wide);
        }
    }
    out
}

macro_rules! with_number {
    ($($name:ident $op:literal;)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(out: *mut Handle, of: Handle, number: *mut c_void) {
            // SAFETY: the overload of two tensors.
            unsafe { call(out, 1, $op, c"Tensor", &[tensor(of), beside(number, of) as u64]) }
        }
    )* };
}

with_number! {
    atg_clamp_min c"aten::clamp_min";
    atg_div_scalar c"aten::div";
    atg_div_scalar_ c"aten::div_";
    atg_eq c"aten::eq";
    atg_fill_ c"aten::fill_";
    atg_gt c"aten::gt";
    atg_lt c"aten::lt";
    atg_mul_scalar c"aten::mul";
    atg_mul_scalar_ c"aten::mul_";
}

/// `of - alpha * other`. `add` and `sub` have a Scalar `alpha` that cannot be passed; subtraction has a function of its
/// own, with a floating `alpha`, which libtorch refuses for integers. They go through float64: exact for any index.
unsafe fn subtract(out: *mut Handle, of: Handle, other: Handle, alpha: f64) {
    const LONG: c_int = 4;
    // SAFETY: tensors that live.
    unsafe {
        if is_floating(at_scalar_type(of)) || is_floating(at_scalar_type(other)) {
            checked(c"aten::sub", || stable::aoti_torch_aten_subtract_Tensor(of, other, alpha, out));
            return;
        }
        let [mut a, mut b, mut wide] = [std::ptr::null_mut(); 3];
        atg_totype(&raw mut a, of, DOUBLE);
        atg_totype(&raw mut b, other, DOUBLE);
        if !a.is_null()
            && !b.is_null()
            && checked(c"aten::sub", || stable::aoti_torch_aten_subtract_Tensor(a, b, alpha, &raw mut wide))
        {
            atg_totype(out, wide, LONG);
        }
        for one in [a, b, wide] {
            at_free(one);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn atg_sub(out: *mut Handle, of: Handle, other: Handle) {
    unsafe { subtract(out, of, other, 1.0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn atg_add(out: *mut Handle, of: Handle, other: Handle) {
    unsafe { subtract(out, of, other, -1.0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn atg_add_(out: *mut Handle, of: Handle, other: Handle) {
    let mut sum = std::ptr::null_mut();
    unsafe {
        subtract(&raw mut sum, of, other, -1.0);
        if !sum.is_null() {
            call(out, 1, c"aten::copy_", c"", &[tensor(of), sum as u64, 0]);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn atg_sub_scalar(out: *mut Handle, of: Handle, number: *mut c_void) {
    unsafe {
        let number = beside(number, of);
        subtract(out, of, number, 1.0);
        at_free(number);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn atg_add_scalar(out: *mut Handle, of: Handle, number: *mut c_void) {
    unsafe {
        let number = beside(number, of);
        subtract(out, of, number, -1.0);
        at_free(number);
    }
}

/// `full` has a Scalar: make room, and fill it.
unsafe fn filled(out: *mut Handle, room: Handle, number: *mut c_void) {
    if !room.is_null() {
        unsafe {
            atg_fill_(out, room, number);
            at_free(room);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn atg_full(
    out: *mut Handle,
    sizes: *const i64,
    length: c_int,
    number: *mut c_void,
    dtype: c_int,
    device: c_int,
) {
    let mut room = std::ptr::null_mut();
    unsafe {
        atg_empty(&raw mut room, sizes, length, dtype, device);
        filled(out, room, number);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn atg_full_like(out: *mut Handle, of: Handle, number: *mut c_void) {
    let mut room = std::ptr::null_mut();
    unsafe {
        atg_empty_like(&raw mut room, of);
        filled(out, room, number);
    }
}
