//! How many bits of their factors the products keep.

use tch::{Device, Kind};

use super::tf32;
use crate::error::{Error, argument};
use crate::words::{Words, alternatives};

/// Sums, states, losses and the optimizer are always in float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Fp32,
    /// CUDA's rounding of float32 to 10 bits of mantissa.
    Tf32,
    Bf16,
    Fp16,
}

/// A precision as users write it; "auto" depends on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted(Option<Precision>);

impl Words for Wanted {
    const NAME: &'static str = "precision";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self(None)),
        ("fp32", Self(Some(Precision::Fp32))),
        ("tf32", Self(Some(Precision::Tf32))),
        ("bf16", Self(Some(Precision::Bf16))),
        ("fp16", Self(Some(Precision::Fp16))),
    ];
}

impl Precision {
    pub fn parse(word: &str, device: Device) -> Result<Self, Error> {
        match (Wanted::parse(word)?.0, device) {
            (None, Device::Cuda(_)) if tf32::is_known() => Ok(Self::Tf32),
            (None, _) => Ok(Self::Fp32),
            (Some(Self::Tf32), Device::Cpu) => {
                let words: Vec<&str> = Wanted::WORDS.iter().map(|(word, _)| *word).filter(|w| *w != "tf32").collect();
                let expected = format!("{} on the CPU", alternatives(&words));
                Err(argument("precision", expected, "\"tf32\", which only CUDA devices have"))
            }
            (Some(Self::Tf32), _) if !tf32::is_known() => Err(argument(
                "precision",
                "\"auto\", \"fp32\", \"bf16\" or \"fp16\" with this release of torch",
                "\"tf32\"",
            )),
            (Some(precision), _) => Ok(precision),
        }
    }

    /// The kind of a product's factors, where states are of `kind`.
    pub fn of_products(self, kind: Kind) -> Kind {
        match self {
            Self::Fp32 | Self::Tf32 => kind,
            Self::Bf16 => Kind::BFloat16,
            Self::Fp16 => Kind::Half,
        }
    }
}
