//! What tch does not wrap, and the C functions that tch itself calls, over libtorch's stable C interface. With the CPU kernels the only room with `unsafe` code; each block says why it is sound.

mod dispatch;
mod failure;
mod graph;
mod number;
mod operators;
mod parallel;
mod platform;
mod stable;
mod tensor;
mod tf32;
mod value;

use std::marker::PhantomData;
use std::ops::Deref;

use ndarray::ArrayViewD;
use tch::kind::Element;
use tch::{Cuda, Device, Tensor};

pub use dispatch::{Adam, Rate, fused_adam, fused_cell, fused_cell_backward, send};
pub use graph::{Entered, Graph, Stream};
pub use parallel::{Threads, by_parts, forked, parallel, threads};
pub use tf32::Tf32;

use crate::error::Error;

/// A tensor over memory that somebody else owns and that is read in place, whatever its strides.
#[derive(Debug)]
pub struct Borrowed<'a> {
    tensor: Tensor,
    owner: PhantomData<&'a ()>,
}

impl<'a> Borrowed<'a> {
    pub fn new<T: Element>(view: &ArrayViewD<'a, T>) -> Self {
        let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
        let strides: Vec<i64> = view.strides().iter().map(|n| *n as i64).collect();
        // SAFETY: `view` is valid for reads at these shape and strides for 'a, which `owner` ties the tensor to; strides
        // are not negative (NumPy's view inverts such axes); and nothing here writes through a `Borrowed`, as it hands
        // out a shared reference alone and `Column` only selects, narrows and converts.
        #[allow(unsafe_code)]
        let tensor = unsafe { Tensor::from_blob(view.as_ptr().cast(), &shape, &strides, T::KIND, Device::Cpu) };
        Self { tensor, owner: PhantomData }
    }

    /// Let go of the pages of a mapped file that were read. They stay in the system's cache and come back when read again,
    /// so this changes no number; of memory that is not a shared map of a file it must not be asked.
    pub fn give_back(&self) {
        const PAGE: usize = 4096;
        let reach: i64 = self.size().iter().zip(self.stride()).map(|(n, stride)| (n - 1).max(0) * stride).sum();
        let first = self.data_ptr() as usize;
        let end = first + (reach as usize + 1) * self.kind().elt_size_in_bytes();
        let (first, end) = (first.next_multiple_of(PAGE), end / PAGE * PAGE);
        if first < end {
            // SAFETY: whole pages within the borrowed array; their content is the file's and stays readable. A refusal
            // only leaves them resident.
            #[allow(unsafe_code)]
            unsafe {
                libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED);
            }
        }
    }
}

impl Deref for Borrowed<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

/// The device that `word` names: "auto", "cpu", "cuda" or "cuda:1".
pub fn device(word: &str) -> Result<Device, Error> {
    let refused = |expected: &str, got: &str| Error::Device { expected: expected.to_owned(), got: got.to_owned() };
    let there = usize::try_from(Cuda::device_count()).unwrap_or(0);
    let index = match word {
        "cpu" => return Ok(Device::Cpu),
        "auto" if there == 0 => return Ok(Device::Cpu),
        "auto" | "cuda" => Some(0),
        other => other.strip_prefix("cuda:").and_then(|index| index.parse::<usize>().ok()),
    };
    match index {
        None => Err(refused("\"auto\", \"cpu\", \"cuda\" or \"cuda:0\" and so on", &format!("{word:?}"))),
        Some(_) if there == 0 => {
            let got = format!("{word:?}: no CUDA device is seen (see nvidia-smi; a CPU build of torch sees none)");
            Err(refused("\"cpu\" or \"auto\" on this machine", &got))
        }
        Some(index) if index >= there => {
            Err(refused(&format!("one of the {there} CUDA devices of this machine"), &format!("{word:?}")))
        }
        Some(index) => Ok(Device::Cuda(index)),
    }
}

/// The word that names `device`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// Bytes that are free on `device`; none where that is not known.
pub fn free_memory(device: Device) -> Option<usize> {
    type OfMemory = unsafe extern "C" fn(*mut usize, *mut usize) -> i32;
    let _guard = graph::Guard::device(device).ok()?;
    // SAFETY: a function of the CUDA runtime that libtorch has loaded, if it has, by its signature there.
    #[allow(unsafe_code)]
    unsafe {
        let runtime = [c"libcudart.so.13", c"libcudart.so.12"]
            .map(|name| libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD))
            .into_iter()
            .find(|handle| !handle.is_null())?;
        let found = libc::dlsym(runtime, c"cudaMemGetInfo".as_ptr());
        if found.is_null() {
            return None;
        }
        let info = std::mem::transmute::<*mut libc::c_void, OfMemory>(found);
        let (mut free, mut total) = (0, 0);
        (info(&raw mut free, &raw mut total) == 0).then_some(free)
    }
}
