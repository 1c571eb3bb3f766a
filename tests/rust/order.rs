//! Every window once an epoch, in an order of its own.

use backcast::data::{Order, Share};

/// Batches of rows, from batch `first` on.
fn batches_from(order: &Order, first: i64) -> Vec<Vec<i64>> {
    (first..).map_while(|index| order.batch(index)).map(<[i64]>::to_vec).collect()
}

/// All rows of an epoch, batch after batch, and the batches' sizes.
fn epoch(n: i64, batch_size: i64, seed: u64, epoch: i64) -> (Vec<i64>, Vec<usize>) {
    let order = Order::new(n, batch_size, seed, epoch);
    let batches = || batches_from(&order, 0);
    (batches().concat(), batches().iter().map(Vec::len).collect())
}

#[test]
fn every_row_is_seen_once_and_the_short_last_batch_is_kept() {
    for (n, batch_size, expected) in [(10, 4, vec![4, 4, 2]), (8, 4, vec![4, 4]), (3, 128, vec![3]), (1, 1, vec![1])] {
        let (mut rows, sizes) = epoch(n, batch_size, 0, 0);
        rows.sort_unstable();
        assert_eq!(rows, (0..n).collect::<Vec<_>>());
        assert_eq!(sizes, expected);
    }
}

#[test]
fn every_epoch_and_seed_has_an_order_of_its_own() {
    let (first, _) = epoch(100, 7, 0, 0);
    assert_eq!(first, epoch(100, 7, 0, 0).0);
    assert_ne!(first, epoch(100, 7, 0, 1).0);
    assert_ne!(first, epoch(100, 7, 1, 0).0);
}

#[test]
fn an_epoch_goes_on_where_it_was_left() {
    let order = Order::new(10, 3, 0, 0);
    let whole = batches_from(&order, 0);
    assert_eq!(batches_from(&order, 2), whole[2..]);
    assert_eq!(batches_from(&order, 4).len(), 0);
}

#[test]
fn the_parts_of_all_processes_are_the_batch() {
    let order = Order::new(10, 4, 0, 0);
    for batch in 0..3 {
        let part = |rank| order.part(batch, Share::Shared { rank, size: 3 }).expect("a batch").to_vec();
        assert_eq!([part(0), part(1), part(2)].concat(), order.batch(batch).expect("a batch"));
    }
    assert!(order.part(3, Share::Shared { rank: 0, size: 3 }).is_none());
}

#[test]
fn windows_of_its_own_last_as_many_batches_as_those_of_all() {
    let order = Order::new(3, 4, 0, 0);
    let parts: Vec<&[i64]> = (0..5).map_while(|batch| order.part(batch, Share::Own { batches: 5 })).collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [0, 1, 0, 1, 1]);
    assert_eq!(parts.concat(), order.batch(0).expect("three windows"));
}
