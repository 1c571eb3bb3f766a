//! Every window once an epoch, in an order of its own.

use backcast::data::Order;

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
