//! The cases of the W3C's own test suite (github.com/w3c/trace-context, test/test.py), as a table.

use super::*;

const TRACE: u128 = 0x1234_5678_9012_3456_7890_1234_5678_9012;
const PARENT: u64 = 0x1234_5678_9012_3456;
const GOOD: &str = "00-12345678901234567890123456789012-1234567890123456-00";

fn headers(pairs: &[(&str, &str)]) -> Fields {
    Fields::of(pairs)
}

#[test]
fn a_traceparent_is_taken_as_the_specification_has_it_or_not_at_all() {
    for (value, flags) in [
        ("00-12345678901234567890123456789012-1234567890123456-01", Some(SAMPLED)),
        (GOOD, Some(0)),
        // The random flag is passed on, and what no version knows is not.
        ("00-12345678901234567890123456789012-1234567890123456-02", Some(RANDOM)),
        ("00-12345678901234567890123456789012-1234567890123456-ff", Some(SAMPLED | RANDOM)),
        ("00-12345678901234567890123456789012-1234567890123456-01.", None),
        ("00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like", None),
        ("cc-12345678901234567890123456789012-1234567890123456-01", Some(SAMPLED)),
        (
            "cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
            Some(SAMPLED),
        ),
        ("cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-be-like", None),
        ("ff-12345678901234567890123456789012-1234567890123456-01", None),
        (".0-12345678901234567890123456789012-1234567890123456-01", None),
        ("0.-12345678901234567890123456789012-1234567890123456-01", None),
        ("000-12345678901234567890123456789012-1234567890123456-01", None),
        ("0000-12345678901234567890123456789012-1234567890123456-01", None),
        ("0-12345678901234567890123456789012-1234567890123456-01", None),
        ("00-00000000000000000000000000000000-1234567890123456-01", None),
        ("00-.2345678901234567890123456789012-1234567890123456-01", None),
        ("00-1234567890123456789012345678901.-1234567890123456-01", None),
        ("00-123456789012345678901234567890123-1234567890123456-01", None),
        ("00-1234567890123456789012345678901-1234567890123456-01", None),
        ("00-12345678901234567890123456789012-0000000000000000-01", None),
        ("00-12345678901234567890123456789012-.234567890123456-01", None),
        ("00-12345678901234567890123456789012-123456789012345.-01", None),
        ("00-12345678901234567890123456789012-12345678901234567-01", None),
        ("00-12345678901234567890123456789012-123456789012345-01", None),
        ("00-12345678901234567890123456789012-1234567890123456-.0", None),
        ("00-12345678901234567890123456789012-1234567890123456-0.", None),
        ("00-12345678901234567890123456789012-1234567890123456-001", None),
        ("00-12345678901234567890123456789012-1234567890123456-1", None),
        ("00-1234567890123456789012345678901A-1234567890123456-01", None),
        ("00_12345678901234567890123456789012_1234567890123456_01", None),
        (" 00-12345678901234567890123456789012-1234567890123456-01", Some(SAMPLED)),
        ("\t00-12345678901234567890123456789012-1234567890123456-01", Some(SAMPLED)),
        ("00-12345678901234567890123456789012-1234567890123456-01 ", Some(SAMPLED)),
        ("\t 00-12345678901234567890123456789012-1234567890123456-01 \t", Some(SAMPLED)),
        ("", None),
        ("00", None),
    ] {
        let read = read(&headers(&[("traceparent", value)]));
        let expected = flags.map(|flags| (TRACE, PARENT, flags));
        assert_eq!(read.map(|read| (read.trace, read.parent, read.flags)), expected, "{value:?}");
    }
}

#[test]
fn none_two_and_other_headers_begin_a_new_trace() {
    let other = "00-12345678901234567890123456789011-1234567890123456-01";
    for pairs in [
        &[][..],
        &[("traceparent", other), ("traceparent", GOOD)],
        &[("trace-parent", GOOD)],
        &[("trace.parent", GOOD)],
        &[("tracestate", "foo=1")],
        &[("traceparent", "00-12345678901234567890123456789012-123456789012345é-01")],
    ] {
        assert_eq!(read(&headers(pairs)), None, "{pairs:?}");
    }
    for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        assert!(read(&headers(&[(name, GOOD)])).is_some(), "{name}");
    }
}

#[test]
fn a_tracestate_is_taken_whole_or_not_at_all() {
    let key = "z".repeat(256);
    let (long, too_long) = (format!("{key}=1"), format!("z{key}=1"));
    let allowed = "abcdefghijklmnopqrstuvwxyz0123456789_-*/= !\"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`~";
    let (tens, too_many): (Vec<String>, String) = {
        let member = |n: usize| format!("bar{n:02}={n:02}");
        let ten = |from: usize| (from..from + 8).map(member).collect::<Vec<_>>().join(",");
        ((0..4).map(|n| ten(n * 8 + 1)).collect(), member(33))
    };
    let all = tens.join(",");
    let lines: Vec<&str> = tens.iter().map(String::as_str).collect();
    let with_one_more: Vec<&str> = lines.iter().copied().chain([&*too_many]).collect();
    let foo_and_long = format!("foo=1,{long}");
    for (values, passed) in [
        (vec!["foo=1,bar=2"], Some("foo=1,bar=2")),
        (vec![""], None),
        (vec!["foo=1", ""], Some("foo=1")),
        (vec!["", "foo=1"], Some("foo=1")),
        (vec!["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], Some("foo=1,bar=2,rojo=1,congo=2,baz=3")),
        (vec!["foo=1,foo=1"], Some("foo=1,foo=1")),
        (vec!["foo=1 \t , \t bar=2, \t baz=3"], Some("foo=1,bar=2,baz=3")),
        (vec!["\t foo=1 \t"], Some("foo=1")),
        (vec![allowed], Some(allowed)),
        (vec!["foo =1"], None),
        (vec!["FOO=1"], None),
        (vec!["foo.bar=1"], None),
        (vec!["foo@=1,bar=2"], Some("foo@=1,bar=2")),
        (vec!["@foo=1,bar=2"], None),
        (vec!["foo@@bar=1,bar=2"], Some("foo@@bar=1,bar=2")),
        (vec!["1special=1"], Some("1special=1")),
        (lines, Some(&*all)),
        (with_one_more, None),
        (vec!["foo=1", &long], Some(&*foo_and_long)),
        (vec!["foo=1", &too_long], None),
        (vec!["foo=bar=baz"], None),
        (vec!["foo=,bar=3"], None),
        (vec!["foobarbaz"], None),
        (vec!["foo=é"], None),
    ] {
        let mut pairs = vec![("traceparent", GOOD)];
        pairs.extend(values.iter().map(|value| ("tracestate", *value)));
        let read = read(&headers(&pairs)).expect("the traceparent counts all the same");
        assert_eq!(read.state.as_deref(), passed, "{values:?}");
    }
}

#[test]
fn of_a_tracestate_that_is_too_long_the_long_members_go_first_and_then_the_last() {
    let long = format!("long={}", "x".repeat(200));
    let short: Vec<String> = (0..20).map(|n| format!("k{n:02}={}", "v".repeat(20))).collect();
    let line = format!("{long},{}", short.join(","));
    let read = read(&headers(&[("traceparent", GOOD), ("tracestate", &line)])).unwrap();
    let state = read.state.unwrap();
    assert!(state.len() <= STATE_BYTES_MAX, "{}", state.len());
    assert!(!state.contains("long="));
    assert_eq!(&*state, short[..20].join(",").as_str().get(..state.len()).unwrap());
    let line = format!("{},{long},{long}", short.join(","));
    let read = super::read(&headers(&[("traceparent", GOOD), ("tracestate", &line)])).unwrap();
    assert!(read.state.unwrap().starts_with("k00="));
}

#[test]
fn what_is_written_is_read_again() {
    let text = written(TRACE, PARENT, SAMPLED);
    assert_eq!(text, "00-12345678901234567890123456789012-1234567890123456-01");
    let small = read(&headers(&[("traceparent", &written(1, 2, 0))])).unwrap();
    assert_eq!((small.trace, small.parent, small.flags), (1, 2, 0));
}
