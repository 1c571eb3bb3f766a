//! Model files: safetensors, written whole or not at all.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use tch::{Kind, Tensor};

use crate::error::Error;

/// What a file holds: tensors by name, and text by key.
pub type Contents = (Vec<(String, Tensor)>, HashMap<String, String>);

/// Write to a temporary file beside `path`, flush it to the disk, and rename: a crash leaves the old file or the new one.
pub fn write(path: &Path, tensors: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| little_endian(tensor)).collect();
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, tensor), bytes)| {
            let shape = tensor.size().iter().map(|n| *n as usize).collect();
            Ok((name.as_str(), TensorView::new(Dtype::F32, shape, bytes)?))
        })
        .collect::<Result<_>>()?;

    let place = || path.display().to_string();
    let no_name = || Error::File { path: place(), reason: "is not the name of a file".to_owned() };
    let file_name = path.file_name().ok_or_else(no_name)?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{file_name}.{}.tmp", std::process::id()));
    let contents = serialize(views, Some(metadata))?;
    let written = write_through(&temporary, &contents).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The reason is what the caller needs; a temporary file that was never made cannot be removed.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(place)
}

fn write_through(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn little_endian(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.numel() * 4];
    tensor.contiguous().to_kind(Kind::Float).copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// Read a file that `write` has written.
pub fn read(path: &Path) -> Result<Contents> {
    let foreign = |reason: String| Error::File { path: path.display().to_string(), reason };
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let not_ours = |error| foreign(format!("is not a backcast model: {error}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(not_ours)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(not_ours)?
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                return Err(foreign(format!("{name} must be of dtype F32, got {:?}", view.dtype())));
            }
            let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
            Ok((name, Tensor::from_data_size(view.data(), &shape, Kind::Float)))
        })
        .collect::<Result<_, _>>()?;
    Ok((tensors, metadata))
}
