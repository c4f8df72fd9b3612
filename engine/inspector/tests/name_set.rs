//! The set answers as a search through all lines does, whatever the lists; its filter misses nothing; what it is made
//! of is the same each time; bytes that are no set are refused or safe to ask.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a panic is how a test fails

use clearway_inspector::name_hash::Keys;
use clearway_inspector::name_set::{build, invariant, Listed, Match, NameSet, Scope};
use proptest::prelude::*;

const KEYS: Keys = Keys { k0: 0x0123_4567_89ab_cdef, k1: 0xfedc_ba98_7654_3211 };

fn listed(list: u16, scope: Scope, exception: bool, names: &str) -> Listed<'_> {
    Listed { list, scope, exception, observe: false, names: names.as_bytes() }
}

fn set(lists: &[Listed<'_>]) -> NameSet<Vec<u8>> {
    NameSet::open(build(KEYS, lists).unwrap().set).unwrap()
}

/// List, entry and kind of what decides.
fn asked<'a>(set: &NameSet<Vec<u8>>, name: &'a str) -> Option<(u16, &'a str, bool)> {
    set.find_text(name).map(|Match { list, entry, exception, .. }| (list, entry, exception))
}

#[test]
fn each_scope_covers_what_it_says() {
    let set = set(&[
        listed(0, Scope::Exact, false, "exact.example\n"),
        listed(1, Scope::Below, false, "below.example\n"),
        listed(2, Scope::Subtree, false, "subtree.example\n"),
    ]);
    assert_eq!(asked(&set, "exact.example"), Some((0, "exact.example", false)));
    assert_eq!(asked(&set, "a.exact.example"), None);
    assert_eq!(asked(&set, "below.example"), None);
    assert_eq!(asked(&set, "b.a.below.example"), Some((1, "below.example", false)));
    assert_eq!(asked(&set, "subtree.example"), Some((2, "subtree.example", false)));
    assert_eq!(asked(&set, "a.subtree.example"), Some((2, "subtree.example", false)));
    for clean in [
        "example",
        "subtree.example.org",
        "asubtree.example",
        "xact.example",
        "",
        ".",
        "..",
        "a..below.exampl",
    ] {
        assert_eq!(asked(&set, clean), None, "{clean}");
    }
}

#[test]
fn many_names_are_all_found_and_give_the_same_bytes_each_time() {
    // More than the builder hashes at a time, so that several threads have a part of them
    let names = |list: u32| (0..60_000).map(move |n| format!("host{}.list{list}.example", n * 7919 % 60_000));
    let text = |list: u32| names(list).map(|name| name + "\n").collect::<String>();
    let (first, second) = (text(1), text(2) + text(1)[..100_000].rsplit_once('\n').unwrap().0 + "\n");
    let lists = [listed(1, Scope::Subtree, false, &first), listed(2, Scope::Exact, false, &second)];
    let built = build(KEYS, &lists).unwrap();
    let set = NameSet::open(built.set.as_slice()).unwrap();
    for (number, entry) in
        [1, 2].into_iter().flat_map(|list| names(list).map(move |name| (list as u16, name)))
    {
        let found = set.find_text(&entry).map(|found| (found.list, found.entry));
        assert_eq!(found, Some((number, entry.as_str())));
    }
    assert_eq!(set.names(), 120_000);
    assert!(asked(&NameSet::open(built.set.clone()).unwrap(), "other.list1.example").is_none());
    assert_eq!(build(KEYS, &lists).unwrap().set, built.set);
}

#[test]
fn the_longest_suffix_decides() {
    let set = set(&[
        listed(0, Scope::Subtree, false, "example.org\n"),
        listed(1, Scope::Subtree, true, "good.example.org\n"),
        listed(2, Scope::Exact, false, "bad.good.example.org\n"),
    ]);
    assert_eq!(asked(&set, "example.org"), Some((0, "example.org", false)));
    assert_eq!(asked(&set, "www.good.example.org"), Some((1, "good.example.org", true)));
    assert_eq!(asked(&set, "bad.good.example.org"), Some((2, "bad.good.example.org", false)));
    assert_eq!(asked(&set, "www.bad.good.example.org"), Some((1, "good.example.org", true)));
}

#[test]
fn at_the_same_name_an_exception_beats_a_block_and_the_first_list_is_named() {
    let same = "same.example\n";
    let blocks = [listed(7, Scope::Subtree, false, same), listed(3, Scope::Exact, false, same)];
    let both = set(&blocks);
    assert_eq!(asked(&both, "same.example"), Some((3, "same.example", false)));
    assert_eq!(asked(&both, "a.same.example"), Some((7, "same.example", false)));
    assert_eq!(both.names(), 2);
    let [first, second] = blocks;
    let spared = set(&[first, second, listed(9, Scope::Exact, true, same)]);
    assert_eq!(asked(&spared, "same.example"), Some((9, "same.example", true)));
    assert_eq!(asked(&spared, "a.same.example"), Some((7, "same.example", false)));
}

#[test]
fn one_list_says_its_widest_scope() {
    let same = "same.example\n";
    let set = set(&[listed(0, Scope::Exact, false, same), listed(0, Scope::Subtree, false, same)]);
    assert_eq!(set.find_text("same.example").unwrap().scope, Scope::Subtree);
    assert_eq!(set.names(), 1);
}

#[test]
fn an_empty_set_finds_nothing() {
    let built = build(KEYS, &[]).unwrap();
    assert_eq!(asked(&NameSet::open(built.set).unwrap(), "a.example"), None);
    assert_eq!(built.filter.descriptor.entries, 0);
}

#[test]
fn the_same_lists_give_the_same_bytes_and_other_keys_give_others() {
    let lists = [
        listed(0, Scope::Exact, false, "a.example\nb.example\n"),
        listed(1, Scope::Below, true, "a.example\n"),
    ];
    let [one, other] = &lists;
    let built = build(KEYS, &lists).unwrap();
    let turned = build(KEYS, &[*other, *one]).unwrap();
    assert_eq!((&built.set, &built.filter), (&turned.set, &turned.filter));
    let other = build(Keys { k0: 1, ..KEYS }, &lists).unwrap();
    assert_ne!(built.filter.words, other.filter.words);
}

#[test]
fn what_was_built_says_how_to_ask_its_filter() {
    let built = build(KEYS, &[listed(0, Scope::Subtree, false, "a.example\nb.example\n")]).unwrap();
    let set = NameSet::open(built.set).unwrap();
    assert_eq!((set.keys(), set.filter(), set.names()), (KEYS, built.filter.descriptor, 2));
    assert_eq!(set.filter().entries, 4);
}

#[test]
fn lines_that_are_no_names_are_refused() {
    let long = format!("{}\n", "a".repeat(254));
    for names in ["a.example", "\n", "a.example\n\n", &long] {
        assert!(build(KEYS, &[listed(0, Scope::Exact, false, names)]).is_err(), "{names:?}");
    }
}

#[test]
fn bytes_of_another_size_format_or_kind_are_refused() {
    let built = build(KEYS, &[listed(0, Scope::Exact, false, "a.example\n")]).unwrap().set;
    assert!(NameSet::open(built.as_slice()).is_ok());
    for length in 0..built.len() {
        assert!(NameSet::open(built.get(..length).unwrap()).is_err(), "{length} bytes");
    }
    let mut longer = built.clone();
    longer.push(0);
    assert!(NameSet::open(longer).is_err());
    for (at, what) in [(0, "kind"), (8, "format"), (12, "records"), (56, "slots"), (64, "record bytes")] {
        let mut altered = built.clone();
        *altered.get_mut(at).unwrap() ^= 0x40;
        assert!(NameSet::open(altered).is_err(), "{what}");
    }
}

/// Names of few letters, so that they meet.
fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]{1,2}", 1..5).prop_map(|labels| labels.join("."))
}

type List = (u16, usize, bool, bool, String);

fn lists() -> impl Strategy<Value = Vec<List>> {
    let names = proptest::collection::vec(name(), 0..12)
        .prop_map(|names| names.iter().map(|name| format!("{name}\n")).collect::<String>());
    let (exception, observe) = (proptest::bool::weighted(0.3), proptest::bool::weighted(0.3));
    proptest::collection::vec((0u16..6, 0usize..3, exception, observe, names), 0..8)
}

fn as_listed(lists: &[List]) -> Vec<Listed<'_>> {
    fn one((list, scope, exception, observe, names): &List) -> Listed<'_> {
        Listed { observe: *observe, ..listed(*list, Scope::ALL[*scope], *exception, names) }
    }
    lists.iter().map(one).collect()
}

#[test]
fn observed_lists_say_what_they_would_refuse_where_the_enforced_ones_refuse_nothing() {
    let observed =
        |list, scope, exception, names| Listed { observe: true, ..listed(list, scope, exception, names) };
    let set = set(&[
        listed(0, Scope::Subtree, false, "bad.example\n"),
        listed(1, Scope::Subtree, true, "good.bad.example\n"),
        observed(2, Scope::Subtree, false, "bad.example\ngood.bad.example\nseen.example\n"),
        observed(3, Scope::Exact, true, "fine.seen.example\n"),
    ]);
    let said = |name| set.find_text(name).map(|found| (found.list, found.exception, found.observe));
    assert_eq!(said("a.bad.example"), Some((0, false, false)));
    assert_eq!(said("a.good.bad.example"), Some((2, false, true)));
    assert_eq!(said("a.seen.example"), Some((2, false, true)));
    assert_eq!(said("fine.seen.example"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_set_answers_as_a_search_through_all_lines_does(
        lists in lists(), names in proptest::collection::vec(name(), 1..20), k0 in any::<u64>(), k1 in any::<u64>(),
    ) {
        let lists = as_listed(&lists);
        for name in names {
            invariant(&lists, Keys { k0, k1 }, &name);
        }
    }
}

proptest! {
    #[test]
    fn altered_bytes_are_safe_to_ask(at in 72usize..1_000, to in any::<u8>()) {
        let names: String = (0..20).map(|n| format!("n{n}.example\n")).collect();
        let mut built = build(KEYS, &[listed(0, Scope::Subtree, false, &names)]).unwrap().set;
        if let Some(byte) = built.get_mut(at) {
            *byte = to;
        }
        if let Ok(set) = NameSet::open(built) {
            for n in 0..40 {
                let _ = asked(&set, &format!("a.n{n}.example"));
            }
        }
    }
}
