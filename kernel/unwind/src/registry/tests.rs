use super::*;
use std::{collections::BTreeMap, sync::atomic::AtomicBool, vec};

fn small_registry() -> Registry {
    Registry::new(vec![Entry::EMPTY, Entry::EMPTY].leak())
}

/// The header of a range is a function of its text, so that a mixture of two entries is recognised.
fn range(start: usize, end: usize) -> CodeRange {
    CodeRange { text: start..end, header: start * 3..end * 5 }
}

/// A sequence of numbers that looks random and is always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn behaves_like_a_map_of_ranges() {
    let registry = small_registry();
    let mut model: BTreeMap<usize, usize> = BTreeMap::new();
    let mut numbers = Numbers(1);
    let (mut inserted, mut refused, mut removed) = (0, 0, 0);
    for _ in 0..20_000 {
        let start = numbers.below(4_000);
        if numbers.below(2) == 0 {
            let end = start + 1 + numbers.below(20);
            let overlapping = model.range(..end).next_back().filter(|(_, e)| **e > start);
            let result = registry.insert(&range(start, end));
            match overlapping {
                None => {
                    assert_eq!(result, Ok(()));
                    model.insert(start, end);
                    inserted += 1;
                }
                Some(_) => {
                    let Err(RegisterError::Overlaps { text }) = result else { panic!("{result:?}") };
                    assert_eq!(model.get(&text.start), Some(&text.end));
                    assert!(text.start < end && start < text.end);
                    refused += 1;
                }
            }
        } else {
            let was_there = model.remove(&start).is_some();
            assert_eq!(registry.remove(start), was_there);
            removed += usize::from(was_there);
        }
        assert_eq!(registry.len(), model.len());
        let pc = numbers.below(4_100);
        let expected = model.range(..=pc).next_back().filter(|(_, e)| **e > pc).map(|(s, e)| range(*s, *e));
        assert_eq!(registry.find(pc), expected);
    }
    assert!(inserted > 1_000 && refused > 1_000 && removed > 500, "{inserted} {refused} {removed}");
}

#[test]
fn empty_text_is_refused() {
    let registry = small_registry();
    assert_eq!(registry.insert(&range(5, 5)), Err(RegisterError::EmptyText));
    assert_eq!(registry.len(), 0);
    assert_eq!(registry.find(5), None);
    assert!(!registry.remove(5));
}

#[test]
fn neighbours_may_touch_but_not_overlap() {
    let registry = small_registry();
    registry.insert(&range(10, 20)).unwrap();
    registry.insert(&range(30, 40)).unwrap();
    registry.insert(&range(20, 30)).unwrap();
    for bad in [range(9, 11), range(19, 21), range(39, 41), range(0, 100), range(12, 13), range(10, 20)] {
        assert!(matches!(registry.insert(&bad), Err(RegisterError::Overlaps { .. })), "{bad:?}");
    }
    assert_eq!(registry.find(9), None);
    assert_eq!(registry.find(10), Some(range(10, 20)));
    assert_eq!(registry.find(29), Some(range(20, 30)));
    assert_eq!(registry.find(39), Some(range(30, 40)));
    assert_eq!(registry.find(40), None);
}

#[test]
fn readers_never_see_a_mixture_while_writers_work() {
    const ALWAYS: usize = 50;
    let registry = small_registry();
    // These remain, and are shifted to and fro by what is put between them.
    for i in 0..ALWAYS {
        registry.insert(&range(i * 100, i * 100 + 10)).unwrap();
    }
    let stop = AtomicBool::new(false);
    let found = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (registry, stop) = (&registry, &stop);
            scope.spawn(move || {
                let mut numbers = Numbers(seed);
                for _ in 0..20_000 {
                    let start = numbers.below(ALWAYS) * 100 + 20 + seed as usize * 40;
                    if registry.insert(&range(start, start + 30)).is_err() {
                        registry.remove(start);
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        for seed in 10..12 {
            let (registry, stop, found) = (&registry, &stop, &found);
            scope.spawn(move || {
                let mut numbers = Numbers(seed);
                while !stop.load(Ordering::Relaxed) {
                    let pc = numbers.below(ALWAYS * 100);
                    match registry.find(pc) {
                        Some(it) => {
                            assert!(it.text.contains(&pc));
                            assert_eq!(it, range(it.text.start, it.text.end));
                            found.fetch_add(1, Ordering::Relaxed);
                        }
                        None => assert!(pc % 100 >= 10, "{pc} is always registered"),
                    }
                }
            });
        }
    });
    assert!(found.load(Ordering::Relaxed) > 0);
    assert!(registry.len() >= ALWAYS);
}
