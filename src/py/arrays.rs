//! NumPy arrays in, without copies; NumPy arrays out.

use std::cell::Cell;

use half::f16;
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use tch::kind::Element;
use tch::{Device, Kind, Tensor};

use crate::data;
use crate::libtorch::Borrowed;
use crate::stop;

/// One array of any kind that libtorch reads. Python hands over aligned arrays in native byte order.
#[derive(FromPyObject)]
pub enum Array<'py> {
    F32(PyReadonlyArrayDyn<'py, f32>),
    U8(PyReadonlyArrayDyn<'py, u8>),
    F64(PyReadonlyArrayDyn<'py, f64>),
    F16(PyReadonlyArrayDyn<'py, f16>),
    I64(PyReadonlyArrayDyn<'py, i64>),
    I32(PyReadonlyArrayDyn<'py, i32>),
    I16(PyReadonlyArrayDyn<'py, i16>),
    I8(PyReadonlyArrayDyn<'py, i8>),
    Bool(PyReadonlyArrayDyn<'py, bool>),
}

impl Array<'_> {
    fn borrow(&self) -> Borrowed<'_> {
        match self {
            Self::F32(array) => Borrowed::new(&array.as_array()),
            Self::U8(array) => Borrowed::new(&array.as_array()),
            Self::F64(array) => Borrowed::new(&array.as_array()),
            Self::F16(array) => Borrowed::new(&array.as_array()),
            Self::I64(array) => Borrowed::new(&array.as_array()),
            Self::I32(array) => Borrowed::new(&array.as_array()),
            Self::I16(array) => Borrowed::new(&array.as_array()),
            Self::I8(array) => Borrowed::new(&array.as_array()),
            Self::Bool(array) => Borrowed::new(&array.as_array()),
        }
    }
}

/// Windows that Python reads when they are needed.
#[derive(FromPyObject)]
pub struct Lazy {
    length: i64,
    steps: i64,
    /// Row numbers (n) in, an `Array` (n, steps, ...) out.
    read: Py<PyAny>,
}

impl Lazy {
    fn borrow(&self) -> data::Lazy<'_> {
        let read = |rows: &[i64]| {
            Python::attach(|py| {
                let array = self.read.call1(py, (rows.to_vec().into_pyarray(py),))?;
                let array: Array<'_> = array.extract(py)?;
                Ok(array.borrow().copy())
            })
        };
        data::Lazy { len: self.length, steps: self.steps, read: Box::new(read) }
    }
}

/// One array, a list of arrays of unequal length, or windows that are read when they are needed.
#[derive(FromPyObject)]
pub enum Sequences<'py> {
    Array(Array<'py>),
    List(Vec<Array<'py>>),
    Lazy(Lazy),
}

/// One side of the windows, as `backcast._engine.columns.Column` says.
#[derive(FromPyObject)]
pub struct Column<'py> {
    name: String,
    frames: Sequences<'py>,
    unit_range: Option<String>,
    pages: bool,
    scale: Option<[PyReadonlyArrayDyn<'py, f64>; 2]>,
}

impl Column<'_> {
    pub fn borrow(&self) -> data::Column<'_> {
        let sequences = match &self.frames {
            Sequences::Array(array) => data::Sequences::Array(array.borrow()),
            Sequences::List(arrays) => data::Sequences::Ragged(arrays.iter().map(Array::borrow).collect()),
            Sequences::Lazy(lazy) => data::Sequences::Lazy(lazy.borrow()),
        };
        let tensor = |array: &PyReadonlyArrayDyn<'_, f64>| Borrowed::new(&array.as_array()).copy();
        let scale =
            self.scale.as_ref().map(|[offset, factor]| data::Scale { offset: tensor(offset), factor: tensor(factor) });
        let (name, unit_range) = (self.name.clone(), self.unit_range.clone());
        // Python's word for it is not enough: a wrong one would destroy the user's numbers.
        let maps_a_file = matches!(&sequences, data::Sequences::Array(array) if self.pages && array.maps_a_file());
        data::Column { name, sequences, unit_range, pages: maps_a_file.then(Cell::default), scale, placed: None }
    }
}

/// The number of each window's class.
#[derive(FromPyObject)]
pub struct Labels<'py>(PyReadonlyArrayDyn<'py, i64>);

impl Labels<'_> {
    pub fn tensor(self) -> Tensor {
        Borrowed::new(&self.0.as_array()).copy()
    }
}

/// A float32 array as a tensor, without a copy.
pub fn borrowed<'a>(array: &'a PyReadonlyArrayDyn<'_, f32>) -> Borrowed<'a> {
    Borrowed::new(&array.as_array())
}

/// The numbers of a tensor, on the CPU; made without the GIL.
pub struct Numbers<T> {
    shape: Vec<usize>,
    values: Vec<T>,
}

impl<T: Element + numpy::Element + Default + Clone> Numbers<T> {
    pub fn of(tensor: &Tensor) -> Self {
        let tensor = tensor.to_device(Device::Cpu).to_kind(T::KIND).contiguous();
        let mut values = Vec::new();
        stop::reserve(&mut values, tensor.numel());
        values.resize(tensor.numel(), T::default());
        tensor.copy_data(&mut values, tensor.numel());
        Self { shape: tensor.size().iter().map(|n| *n as usize).collect(), values }
    }

    pub fn into_array(self, py: Python<'_>) -> PyResult<Bound<'_, PyArrayDyn<T>>> {
        self.values.into_pyarray(py).reshape(self.shape)
    }
}

/// All tensors, by name.
pub fn numbers<'a, T: Element + numpy::Element + Default + Clone>(
    named: impl Iterator<Item = (&'a str, Tensor)>,
) -> Vec<(String, Numbers<T>)> {
    named.map(|(name, tensor)| (name.to_owned(), Numbers::of(&tensor))).collect()
}

/// (n, ...) to be filled batch by batch.
pub struct Rows {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Rows {
    pub fn new(shape: &[i64]) -> Self {
        let shape: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
        let mut values = Vec::new();
        // Only set aside here: the system makes it when it is written, from batch to batch.
        stop::reserve(&mut values, shape.iter().fold(1, |product: usize, n| product.saturating_mul(*n)));
        Self { shape, values }
    }

    /// Append (B, ...) rows; those shorter than the rest stay zero at their end.
    pub fn push(&mut self, rows: &Tensor) {
        let mut rows = rows.to_device(Device::Cpu).to_kind(Kind::Float);
        let size: Vec<i64> =
            rows.size()[..1].iter().copied().chain(self.shape[1..].iter().map(|n| *n as i64)).collect();
        if rows.size() != size {
            let all = Tensor::zeros(&size, (Kind::Float, Device::Cpu));
            all.narrow(1, 0, rows.size()[1]).copy_(&rows);
            rows = all;
        }
        let (filled, more) = (self.values.len(), rows.numel());
        self.values.resize(filled + more, 0.0);
        rows.contiguous().copy_data(&mut self.values[filled..], more);
    }

    pub fn numbers(self) -> Numbers<f32> {
        Numbers { shape: self.shape, values: self.values }
    }
}
