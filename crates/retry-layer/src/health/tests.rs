//! The table of partitions.

use fastrand::Rng;
use tokio::time::Instant;

use super::{Evict, PartitionKey, Place, table::Table};

fn name(number: usize) -> PartitionKey {
    PartitionKey::named(format!("tenant-{number}"))
}

fn add(table: &Table, number: usize, evict: Evict) -> Option<Place> {
    let key = name(number);
    let hash = key.hash(&table.seed).max(1);
    let added = table.find_or_add(hash, &key, evict);
    added.map(|(place, _)| place)
}

fn find(table: &Table, number: usize) -> Option<Place> {
    let hash = name(number).hash(&table.seed).max(1);
    table.find(hash).map(|(place, _)| place)
}

#[test]
fn the_partition_that_was_not_used_for_the_longest_time_makes_room() {
    // One set.
    let table = Table::new(8, Rng::with_seed(1));
    for number in 0..8 {
        assert!(add(&table, number, Evict::Healthy).is_some());
    }
    assert!(find(&table, 0).is_some());
    assert!(add(&table, 8, Evict::Healthy).is_some());
    assert_eq!(find(&table, 1), None);
    for number in [0, 2, 3, 4, 5, 6, 7, 8] {
        assert!(find(&table, number).is_some(), "{number}");
    }
}

#[test]
fn an_open_circuit_makes_no_room_unless_another_is_opened_by_hand() {
    let table = Table::new(8, Rng::with_seed(1));
    for number in 0..8 {
        let place = add(&table, number, Evict::Healthy).unwrap();
        let slot = table.slot(place).unwrap();
        slot.change_any(|it| it.circuit.trip(Instant::now()));
    }
    assert_eq!(add(&table, 8, Evict::Healthy), None);
    let place = add(&table, 8, Evict::NotByHand).unwrap();
    let slot = table.slot(place).unwrap();
    slot.change_any(|it| it.circuit.open_by_hand());
    for number in 0..8 {
        add(&table, number, Evict::NotByHand);
    }
    assert_eq!(find(&table, 8), Some(place));
}

#[test]
fn an_outcome_of_the_origin_that_had_the_slot_before_is_ignored() {
    let table = Table::new(8, Rng::with_seed(1));
    let places: Vec<_> = (0..8)
        .map(|number| add(&table, number, Evict::Healthy).unwrap())
        .collect();
    let old = table.slot(places[0]).unwrap().word();
    let place = add(&table, 8, Evict::Healthy).unwrap();
    assert_eq!(place, places[0]);
    assert_ne!(table.slot(place).unwrap().word().era(), old.era());
}

#[test]
fn many_origins_are_found_again() {
    let table = Table::new(1_024, Rng::with_seed(1));
    let added = (0..256).filter(|it| add(&table, *it, Evict::Healthy).is_some());
    assert_eq!(added.count(), 256);
    let found = (0..256).filter(|it| find(&table, *it).is_some()).count();
    assert!(found >= 250, "{found}");
}
