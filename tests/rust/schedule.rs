//! The learning rate over the updates.

use backcast::train::Schedule;

/// Factors of the learning rate at `steps` of 100 updates, the first 10 of which are the warm-up.
fn factors(schedule: Schedule, steps: [i64; 6]) -> [f64; 6] {
    steps.map(|step| schedule.factor(step, 100, 10))
}

fn assert_close(found: [f64; 6], expected: [f64; 6]) {
    for (found, expected) in found.into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }
}

#[test]
fn the_warm_up_rises_in_a_straight_line_and_never_starts_at_zero() {
    for schedule in [Schedule::Constant, Schedule::Cosine] {
        assert_close(factors(schedule, [0, 1, 4, 8, 9, 10]), [0.1, 0.2, 0.5, 0.9, 1.0, 1.0]);
    }
}

#[test]
fn a_constant_rate_stays() {
    assert_close(factors(Schedule::Constant, [10, 30, 55, 99, 100, 1000]), [1.0; 6]);
}

#[test]
fn a_cosine_falls_to_zero_at_the_end_and_stays_there() {
    let half = 0.5 * (1.0 + std::f64::consts::FRAC_1_SQRT_2);
    let quarters = [10, 30, 50, 70, 90, 1000].map(|step| Schedule::Cosine.factor(step, 90, 10));
    assert_close(quarters, [1.0, half, 0.5, 1.0 - half, 0.0, 0.0]);
}

#[test]
fn unknown_words_are_refused() {
    assert_eq!(Schedule::parse(None).ok(), Some(Schedule::Constant));
    assert_eq!(Schedule::parse(Some("cosine")).ok(), Some(Schedule::Cosine));
    let error = Schedule::parse(Some("linear")).expect_err("unknown").to_string();
    assert_eq!(error, "schedule must be None, \"constant\" or \"cosine\", got \"linear\"");
}
