//! All the model's numbers of one kind (weights, or gradients) in one flat tensor, with a view for each name in the seed's
//! modules. It is flat so that clipping, the optimizer and a checkpoint handle one tensor.

use std::collections::HashMap;

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::architecture::{Architecture, Distribution, Feedback, Init, Which};
use crate::error::Error;
use crate::lstm::{Layer, Readout, Stack};
use crate::random::{Purpose, fill_uniform, stream};
use crate::stop;

/// Every tensor starts on a cache line of its own.
const ALIGNMENT: i64 = 16;

/// The name, shape and place of one tensor.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub shape: Vec<i64>,
    offset: i64,
}

impl Entry {
    fn numel(&self) -> i64 {
        self.shape.iter().fold(1, |product, n| product.wrapping_mul(*n))
    }

    /// The view of this tensor in a flat one.
    pub fn view(&self, flat: &Tensor) -> Tensor {
        flat.narrow(0, self.offset, self.numel()).view(self.shape.as_slice())
    }
}

/// The encoder, the existing decoders, and the flat tensor that holds their numbers.
#[derive(Debug)]
pub struct Weights {
    pub flat: Tensor,
    pub entries: Vec<Entry>,
    pub encoder: Stack,
    pub decoders: [Option<Stack>; 2],
}

impl Weights {
    pub fn zeros(architecture: &Architecture, options: (Kind, Device)) -> Self {
        let entries = layout(architecture);
        let size = entries.last().map_or(0, |last| last.offset + last.numel());
        Self::of(architecture, stop::zeros(size, options))
    }

    /// Views of the weights in `flat`.
    pub fn of(architecture: &Architecture, flat: Tensor) -> Self {
        let vectors = flat.shallow_clone();
        Self::with_vectors(architecture, flat, &vectors)
    }

    /// The matrices in `flat`, of any kind, with `vectors` (biases, peepholes) from a flat tensor of another kind.
    pub fn with_vectors(architecture: &Architecture, flat: Tensor, vectors: &Tensor) -> Self {
        let entries = layout(architecture);
        let stack = |part: &str| stack(part, architecture.num_layers, &entries, &flat, vectors);
        let encoder = stack("encoder");
        let decoders = Which::ALL.map(|which| architecture.feedback[which as usize].map(|_| stack(&part(which))));
        Self { flat, entries, encoder, decoders }
    }

    pub fn draw(architecture: &Architecture, init: Init) -> Self {
        let weights = Self::zeros(architecture, (Kind::Float, Device::Cpu));
        let mut rng = stream(init.seed, Purpose::Weights, 0);
        let paper = init.distribution == Distribution::Paper;
        for entry in &weights.entries {
            let view = entry.view(&weights.flat);
            let is_bias = entry.name.contains("bias");
            let bound = match (paper, entry.name.contains("weight_ch")) {
                (false, _) => 1.0 / (architecture.hidden_size as f64).sqrt(),
                (true, false) => 0.01,
                (true, true) => 0.1,
            };
            if !(paper && is_bias) {
                fill_uniform(&mut rng, &view, -bound, bound);
            }
            if let Some(forget_bias) = init.forget_bias.filter(|_| entry.name.contains("lstm.bias")) {
                let hidden = architecture.hidden_size;
                let b = if entry.name.contains("bias_ih") { forget_bias } else { 0.0 };
                let _ = view.narrow(0, hidden, hidden).fill_(b);
            }
        }
        weights
    }

    pub fn named(&self) -> impl Iterator<Item = (&str, Tensor)> {
        self.names(&self.flat)
    }

    /// The tensors in a flat one with the layout of these weights: moments, gradients.
    pub fn names(&self, flat: &Tensor) -> impl Iterator<Item = (&str, Tensor)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.view(flat)))
    }

    /// Where the encoder's readout starts in the flat tensor, and its size.
    pub fn head(&self) -> (i64, i64) {
        let head: Vec<&Entry> = self.entries.iter().filter(|entry| entry.name.starts_with("encoder.fc")).collect();
        match head.as_slice() {
            [first, .., last] => (first.offset, last.offset + last.numel() - first.offset),
            _ => (0, 0),
        }
    }

    /// Where the decoders' weights start in the flat tensor; its end without decoders.
    pub fn decoders(&self) -> i64 {
        let first = self.entries.iter().find(|entry| !entry.name.starts_with("encoder."));
        first.map_or(self.flat.size()[0], |entry| entry.offset)
    }

    /// Assign `arrays`, all of them or none.
    pub fn assign(&self, arrays: &[(String, Tensor)]) -> Result<()> {
        self.fill(&self.flat, arrays)
    }

    /// The same for a flat tensor with the layout of these weights.
    pub fn fill(&self, flat: &Tensor, arrays: &[(String, Tensor)]) -> Result<()> {
        check(&self.entries, arrays.iter().map(|(name, array)| (name.clone(), array.size())).collect())?;
        let by_name: HashMap<&str, &Tensor> = arrays.iter().map(|(name, array)| (name.as_str(), array)).collect();
        for entry in &self.entries {
            if let Some(array) = by_name.get(entry.name.as_str()) {
                entry.view(flat).copy_(array);
            }
        }
        Ok(())
    }
}

/// Refuse arrays of other names or shapes than the weights of an architecture, before anything of its size is made.
pub fn check_shapes(architecture: &Architecture, shapes: HashMap<String, Vec<i64>>) -> Result<(), Error> {
    architecture.check()?;
    // As every layer has several arrays, what has fewer need not be written out to be refused.
    if architecture.num_layers > shapes.len() as i64 {
        let (expected, got) = (format!("at least {} arrays", architecture.num_layers), shapes.len().to_string());
        return Err(Error::Shape { name: "weights".into(), expected, got });
    }
    check(&layout(architecture), shapes)
}

fn check(entries: &[Entry], mut shapes: HashMap<String, Vec<i64>>) -> Result<(), Error> {
    let found: Vec<(&Entry, Vec<i64>)> =
        entries.iter().filter_map(|entry| Some((entry, shapes.remove(&entry.name)?))).collect();
    if found.len() < entries.len() || !shapes.is_empty() {
        /// So many names that a message can hold.
        const SOME: usize = 50;
        let mut got = Vec::new();
        let has = |name: &str| found.iter().any(|(entry, _)| entry.name == name);
        let missing = entries.iter().map(|entry| entry.name.as_str()).filter(|name| !has(name));
        let missing: Vec<&str> = missing.take(SOME).collect();
        if !missing.is_empty() {
            got.push(format!("no {}", missing.join(", ")));
        }
        let mut foreign: Vec<&str> = shapes.keys().map(String::as_str).collect();
        foreign.sort_unstable();
        foreign.truncate(SOME);
        if !foreign.is_empty() {
            got.push(format!("also {}", foreign.join(", ")));
        }
        let expected = format!("a dict with the {} weights of this architecture", entries.len());
        return Err(Error::Shape { name: "weights".into(), expected, got: got.join("; ") });
    }
    for (entry, got) in found {
        if got != entry.shape {
            let expected = format!("of shape {:?}", entry.shape);
            return Err(Error::Shape { name: entry.name.clone(), expected, got: format!("{got:?}") });
        }
    }
    Ok(())
}

fn part(which: Which) -> String {
    format!("{}_decoder", which.name())
}

/// Names, shapes and places in the order of the seed's `state_dict`.
fn layout(architecture: &Architecture) -> Vec<Entry> {
    let &Architecture { frame_size, hidden_size, num_layers, peepholes, .. } = architecture;
    let mut entries: Vec<Entry> = Vec::new();
    let mut add = |name: String, shape: Vec<i64>| {
        let end = entries.last().map_or(0, |last| last.offset.wrapping_add(last.numel()));
        entries.push(Entry { name, shape, offset: end.wrapping_add(ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT });
    };
    let lstm = |part: &str, input: Option<i64>, add: &mut dyn FnMut(String, Vec<i64>)| {
        for l in 0..num_layers {
            let input = if l == 0 { input } else { Some(hidden_size) };
            if let Some(input) = input {
                add(format!("{part}.lstm.weight_ih_l{l}"), vec![4 * hidden_size, input]);
            }
            add(format!("{part}.lstm.weight_hh_l{l}"), vec![4 * hidden_size, hidden_size]);
            add(format!("{part}.lstm.bias_ih_l{l}"), vec![4 * hidden_size]);
            add(format!("{part}.lstm.bias_hh_l{l}"), vec![4 * hidden_size]);
            if peepholes {
                add(format!("{part}.lstm.weight_ch_l{l}"), vec![3 * hidden_size]);
            }
        }
    };
    let readout = |part: &str, size: i64, add: &mut dyn FnMut(String, Vec<i64>)| {
        add(format!("{part}.fc.weight"), vec![size, hidden_size]);
        add(format!("{part}.fc.bias"), vec![size]);
    };
    lstm("encoder", Some(frame_size), &mut add);
    for which in Which::ALL {
        if let Some(feedback) = architecture.feedback[which as usize] {
            lstm(&part(which), (feedback != Feedback::Nothing).then_some(frame_size), &mut add);
            readout(&part(which), frame_size, &mut add);
        }
    }
    if let Some(classes) = architecture.classes {
        readout("encoder", classes, &mut add);
    }
    entries
}

fn stack(part: &str, layers: i64, entries: &[Entry], matrices: &Tensor, vectors: &Tensor) -> Stack {
    let by_name: HashMap<&str, &Entry> = entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let find = |name: String| {
        let entry = by_name.get(name.as_str())?;
        Some(entry.view(if entry.shape.len() == 2 { matrices } else { vectors }))
    };
    let lstm = |name: &str, l| find(format!("{part}.lstm.{name}_l{l}"));
    let always = |tensor: Option<Tensor>| tensor.expect("the layout names every tensor of a layer");
    Stack {
        layers: (0..layers)
            .map(|l| Layer {
                weight_ih: lstm("weight_ih", l),
                weight_hh: always(lstm("weight_hh", l)),
                bias_ih: always(lstm("bias_ih", l)),
                bias_hh: always(lstm("bias_hh", l)),
                weight_ch: lstm("weight_ch", l),
            })
            .collect(),
        readout: find(format!("{part}.fc.weight"))
            .map(|weight| Readout { weight, bias: always(find(format!("{part}.fc.bias"))) }),
    }
}
