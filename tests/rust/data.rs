use backcast::data::{Align, Column, Conversion, Scale, Sequences};
use backcast::libtorch::Borrowed;
use ndarray::{Array3, ArrayD};
use tch::{Device, Kind, Tensor};

const TO: Conversion = Conversion { frame_size: 4, kind: Kind::Float, device: Device::Cpu };

fn bytes() -> ArrayD<u8> {
    Array3::from_shape_fn((9, 5, 4), |(i, j, k)| (i * 29 + j * 7 + k * 3) as u8).into_dyn()
}

fn column(array: Borrowed<'_>, scaled: bool) -> Column<'_> {
    let row = |from: f64| Tensor::from_slice(&[from, from + 0.1, from + 0.2, from + 0.3]);
    Column {
        name: "past".into(),
        sequences: Sequences::Array(array),
        unit_range: None,
        pages: None,
        scale: scaled.then(|| Scale { offset: row(0.2), factor: row(0.5) }),
        placed: None,
    }
}

#[test]
fn a_placed_array_gives_the_batches_that_it_gave_before() {
    let whole = bytes();
    for scaled in [false, true] {
        let mut column = column(Borrowed::new(&whole.view()), scaled);
        let before = column.gather(&[7, 0, 3], Align::Right, TO).expect("bytes are fine");
        column.place(TO, whole.len());
        assert!(column.placed.is_some());
        let after = column.gather(&[7, 0, 3], Align::Right, TO).expect("bytes are fine");
        assert_eq!(after.values.size(), [5, 3, 4]);
        let [after_values, before_values] =
            [&after, &before].map(|batch| Vec::<f32>::try_from(batch.values.flatten(0, -1)).expect("numbers"));
        assert_eq!(after_values, before_values);
        assert!(after.known.is_none() && after.valid.is_none());
    }
}

#[test]
fn what_does_not_fit_or_has_to_be_looked_at_is_not_placed() {
    let whole = bytes();
    let mut large = column(Borrowed::new(&whole.view()), false);
    large.place(TO, whole.len() - 1);
    assert!(large.placed.is_none());

    for bad in [f32::NAN, f32::INFINITY, 2.0] {
        let mut numbers = whole.mapv(|byte| f32::from(byte) / 255.0);
        numbers[[8, 1, 2]] = bad;
        let mut column = column(Borrowed::new(&numbers.view()), false);
        column.unit_range = Some("numbers in 0..1".into());
        column.place(TO, usize::MAX);
        assert!(column.placed.is_none(), "{bad}");
    }
}
