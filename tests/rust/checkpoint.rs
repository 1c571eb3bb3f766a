//! Model files are written whole or not at all.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use backcast::checkpoint::{read, write};
use tch::{Kind, Tensor};

fn contents(value: f64) -> (Vec<(String, Tensor)>, HashMap<String, String>) {
    let tensors = vec![
        ("a".to_owned(), Tensor::full([2, 3], value, (Kind::Float, tch::Device::Cpu))),
        ("b".to_owned(), Tensor::from_slice(&[0.0_f32, 1.0, 2.0, 3.0])),
    ];
    (tensors, HashMap::from([("format".to_owned(), "test".to_owned())]))
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::try_from(tensor.flatten(0, -1))?)
}

fn save(path: &Path, value: f64) -> Result<()> {
    let (tensors, metadata) = contents(value);
    write(path, &tensors, metadata)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[test]
fn what_was_written_is_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    save(&path, 1.0)?;
    save(&path, 2.5)?; // replaces the first
    let (tensors, metadata) = read(&path)?;
    let (expected, expected_metadata) = contents(2.5);
    assert_eq!(metadata, expected_metadata);
    assert_eq!(tensors.len(), expected.len());
    for (name, tensor) in expected {
        let found = tensors.iter().find(|(found, _)| *found == name).map(|(_, tensor)| tensor);
        let found = found.expect("the name");
        assert_eq!(found.size(), tensor.size(), "{name}");
        assert_eq!(numbers(found)?, numbers(&tensor)?, "{name}");
    }
    assert_eq!(names(folder.path())?, ["model.safetensors"]);
    Ok(())
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    assert!(save(&folder.path().join("missing/model.safetensors"), 1.0).is_err());
    // A folder cannot be replaced by a file: the last step, the renaming, fails.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken)?;
    assert!(save(&taken, 1.0).is_err());
    assert_eq!(names(folder.path())?, ["taken"]);
    Ok(())
}

#[test]
fn what_is_not_a_model_is_refused_by_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    save(&path, 1.0)?;
    let whole = fs::read(&path)?;
    for (what, bytes) in [("empty", &[][..]), ("cut short", &whole[..whole.len() - 1]), ("text", &b"not a model"[..])] {
        fs::write(&path, bytes)?;
        let error = read(&path).map(drop).expect_err(what).to_string();
        assert!(error.contains("model.safetensors: is not a backcast model"), "{what}: {error}");
    }
    Ok(())
}
