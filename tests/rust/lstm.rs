//! The stack agrees with PyTorch's.

#![allow(clippy::unreadable_literal, reason = "numbers as PyTorch prints them")]

use backcast::lstm::{Back, Feed, Layer, Mode, Readout, Run, Stack, Trace, backward, forward};
use backcast::random::{Draws, Purpose, stream};
use tch::{Device, Kind, Tensor};

/* Expected values from PyTorch:

   lstm = torch.nn.LSTM(2, 3, num_layers=2, batch_first=True).double()
   for p, f in zip(lstm.parameters(), (torch.sin, torch.cos) * 4):
       p.data = f(torch.arange(float(p.numel())).double()).view_as(p)
   h, (h_n, c_n) = lstm(torch.arange(8.0).double().view(1, 4, 2) / 8)
   (h * torch.arange(12.0).view_as(h)).sum().backward()
   print(h, c_n, [p.grad.norm() for p in lstm.parameters()], lstm.weight_hh_l0.grad.flatten()[:4])
*/
#[rustfmt::skip]
const H: [f64; 12] = [
    0.170409052727, 0.104878126702, 0.120863376146,
    0.219569719396, 0.128264546485, 0.163311005926,
    0.235265007413, 0.129157361687, 0.180939024242,
    0.244293235527, 0.124571834249, 0.192683751857,
];
const LAST_C: [f64; 6] =
    [0.980004769387, 1.509074927380, 0.127531719748, 0.801359895633, 0.778006976020, 0.752199013890];
#[rustfmt::skip]
const GRADIENT_NORMS: [f64; 8] = [
    0.409276158336, 0.162256471814, 0.461349463118, 0.461349463118,
    2.596217704985, 1.579128341308, 5.644402463231, 5.644402463231,
];
const WEIGHT_HH_0_GRADIENT: [f64; 4] = [0.003135247226, 0.005342458420, 0.001001941517, 0.008438262041];

const D: i64 = 2;
const HIDDEN: i64 = 3;

/// libtorch's operators compute in float64, our own kernels in float32; what each may be off by.
const KINDS: [(Kind, f64); 2] = [(Kind::Double, 1e-11), (Kind::Float, 2e-6)];

/// Two layers, made of `parameter(shape, whether sines rather than cosines)`.
fn stack(parameter: impl Fn(&[i64], bool) -> Tensor) -> Stack {
    let layers = [D, HIDDEN].map(|inputs| Layer {
        weight_ch: None,
        weight_ih: Some(parameter(&[4 * HIDDEN, inputs], true)),
        weight_hh: parameter(&[4 * HIDDEN, HIDDEN], false),
        bias_ih: parameter(&[4 * HIDDEN], true),
        bias_hh: parameter(&[4 * HIDDEN], false),
    });
    // An identity: the outputs are h of the top layer, and the gradient at them enters there.
    let readout = Readout {
        weight: from(&[HIDDEN, HIDDEN], |at| f64::from(at % (HIDDEN + 1) == 0)).to_kind(layers[0].weight_hh.kind()),
        bias: Tensor::zeros([HIDDEN], (layers[0].weight_hh.kind(), Device::Cpu)),
    };
    Stack { layers: layers.into(), readout: Some(readout) }
}

/// A tensor of the number at each place, counted from 0.
fn from(shape: &[i64], number: impl Fn(i64) -> f64) -> Tensor {
    let numbers: Vec<f64> = (0..shape.iter().product::<i64>()).map(number).collect();
    Tensor::from_slice(&numbers).view(shape)
}

fn waves(shape: &[i64], sines: bool) -> Tensor {
    from(shape, |at| if sines { (at as f64).sin() } else { (at as f64).cos() })
}

/// The trace that `frames` (T, B, D) leave behind.
fn pass(stack: &Stack, frames: &Tensor, mode: &mut Mode<'_>) -> Trace {
    let mut trace = Trace::default();
    let (feed, batch) = (Feed::Frames(frames), frames.size()[1]);
    forward(vec![Run { stack, feed, initial: None, batch, valid: None, version: None, trace: &mut trace }], mode);
    trace
}

fn assert_close(found: &Tensor, expected: &[f64], tolerance: f64) {
    let found = Vec::<f64>::try_from(found.to_kind(Kind::Double).flatten(0, -1)).expect("numbers");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance, "{found} is not {expected}");
    }
}

#[test]
fn forward_and_backward_agree_with_pytorch() {
    for (kind, tolerance) in KINDS {
        let stack = stack(|shape, sines| waves(shape, sines).to_kind(kind));
        let frames = from(&[4, 1, D], |at| at as f64 / 8.0).to_kind(kind);
        let draws = &mut Draws::new(stream(0, Purpose::Update, 0), None);
        let mut mode = Mode::Train { dropout: 0.0, draws };
        let mut trace = pass(&stack, &frames, &mut mode);
        assert_close(&trace.top().expect("a training pass"), &H, tolerance);
        assert_close(trace.outputs().expect("a readout"), &H, tolerance);
        assert_close(&trace.last().expect("a last state").c, &LAST_C, tolerance);

        // A gradient at h of every step: what a classifier on top of the encoder gives.
        let hidden = from(&[4, 1, HIDDEN], |at| at as f64).to_kind(kind);
        let gradients = self::stack(|shape, _| Tensor::zeros(shape, (kind, Device::Cpu)));
        backward(vec![Back {
            stack: &stack,
            trace: &mut trace,
            valid: None,
            outputs: Some(&hidden),
            last: None,
            gradients: &gradients,
            wants_initial: false,
        }]);
        let norms: Vec<f64> = gradients
            .layers
            .iter()
            .flat_map(|layer| {
                [layer.weight_ih.as_ref().expect("inputs"), &layer.weight_hh, &layer.bias_ih, &layer.bias_hh]
            })
            .map(|gradient| gradient.norm().double_value(&[]))
            .collect();
        assert_close(&Tensor::from_slice(&norms), &GRADIENT_NORMS, 5.0 * tolerance);
        assert_close(&gradients.layers[0].weight_hh.flatten(0, -1).narrow(0, 0, 4), &WEIGHT_HH_0_GRADIENT, tolerance);
    }
}

#[test]
fn evaluation_gives_the_numbers_of_training_without_dropout() {
    for (kind, tolerance) in KINDS {
        let stack = stack(|shape, sines| waves(shape, sines).to_kind(kind));
        let frames = waves(&[5, 3, D], true).to_kind(kind);
        let draws = &mut Draws::new(stream(0, Purpose::Update, 0), None);
        let [trained, evaluated] = [Mode::Train { dropout: 0.0, draws }, Mode::Eval]
            .map(|mut mode| pass(&stack, &frames, &mut mode).take_last().expect("a last state"));
        for (trained, evaluated) in [(trained.h, evaluated.h), (trained.c, evaluated.c)] {
            assert!((trained - evaluated).norm().double_value(&[]) < 4.0 * tolerance);
        }
    }
}
