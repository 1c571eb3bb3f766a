//! What tch does not wrap, and the C functions that tch itself calls, over libtorch's stable C interface. With `threads` and the
//! CPU kernels the only modules with `unsafe` code; each block states why it is sound.

mod collective;
mod dispatch;
mod failure;
mod graph;
mod number;
mod operators;
mod platform;
mod precision;
mod stable;
mod tensor;
mod tf32;
mod value;

use std::marker::PhantomData;
use std::ops::Deref;

use ndarray::ArrayViewD;
use tch::kind::Element;
use tch::{Cuda, Device, Tensor};

pub use collective::{begin_sum, wait};
pub use dispatch::{Adam, Rate, fused_adam, fused_cell, fused_cell_backward, send};
pub use graph::{Entered, Graph, Stream};
pub use precision::{Precision, Wanted};
pub use tf32::Tf32;

use crate::error::Error;

/// A read-only tensor over memory that belongs to another owner, with any strides.
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

    /// Whether this memory is a shared mapping of a file, by the operating system's own list. Pages of any other memory hold
    /// the only copy of their numbers, also if it is a copy of a mapping.
    pub fn maps_a_file(&self) -> bool {
        let wanted = self.range();
        let covers = |line: &str| {
            // start-end permissions offset device inode path
            let mut fields = line.split_ascii_whitespace();
            let (range, permissions, inode) = (fields.next()?, fields.next()?, fields.nth(2)?);
            let (start, end) = range.split_once('-')?;
            let start = usize::from_str_radix(start, 16).ok()?;
            let end = usize::from_str_radix(end, 16).ok()?;
            let covered = start <= wanted.start && wanted.end <= end;
            Some(covered && permissions.ends_with('s') && inode != "0")
        };
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        maps.lines().any(|line| covers(line).unwrap_or(false))
    }

    /// Release the pages of a mapped file that were read. They stay in the system's cache and return when they are read again,
    /// so this changes no number. Memory that `maps_a_file` does not confirm must never be released.
    pub fn give_back(&self) {
        const PAGE: usize = 4096;
        let range = self.range();
        let (first, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
        if first < end {
            // SAFETY: whole pages within the borrowed array; their content is the file's and stays readable. A refusal
            // only leaves them resident.
            #[allow(unsafe_code)]
            unsafe {
                libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED);
            }
        }
    }

    /// The addresses from the first number to the last.
    fn range(&self) -> std::ops::Range<usize> {
        let reach: i64 = self.size().iter().zip(self.stride()).map(|(n, stride)| (n - 1).max(0) * stride).sum();
        let first = self.data_ptr() as usize;
        first..first + (reach as usize + 1) * self.kind().elt_size_in_bytes()
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
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0);
    let index = match word {
        "cpu" => return Ok(Device::Cpu),
        "auto" if count == 0 => return Ok(Device::Cpu),
        "auto" | "cuda" => Some(0),
        other => other.strip_prefix("cuda:").and_then(|index| index.parse::<usize>().ok()),
    };
    match index {
        None => Err(refused("\"auto\", \"cpu\", \"cuda\" or \"cuda:0\" and so on", &format!("{word:?}"))),
        Some(_) if count == 0 => {
            let got = format!("{word:?}: no CUDA device is seen (see nvidia-smi; a CPU build of torch sees none)");
            Err(refused("\"cpu\" or \"auto\" on this machine", &got))
        }
        Some(index) if index >= count => {
            Err(refused(&format!("one of the {count} CUDA devices of this machine"), &format!("{word:?}")))
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

/// The free bytes on `device`, if known.
pub fn free_memory(device: Device) -> Option<usize> {
    type OfMemory = unsafe extern "C" fn(*mut usize, *mut usize) -> i32;
    let _guard = graph::Guard::device(device).ok()?;
    let found = platform::CUDA_RUNTIMES.iter().find_map(|runtime| platform::find(runtime, platform::MEMORY_INFO))?;
    let (mut free, mut total) = (0, 0);
    // SAFETY: a function of the CUDA runtime, by its signature there.
    #[allow(unsafe_code)]
    let code = unsafe { std::mem::transmute::<*mut libc::c_void, OfMemory>(found)(&raw mut free, &raw mut total) };
    (code == 0).then_some(free)
}
