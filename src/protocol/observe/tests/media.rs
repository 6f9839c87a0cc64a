//! Streams of pictures and of sound.

use super::*;
use crate::protocol::observe::{AnswerFacts, answer};

const IMAGES: Operation = Operation::ImageGenerations;
const PARTIAL: &str = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"partial_image_index\":0,\"b64_json\":\"AAAA\"}\n\n";
const COMPLETED: &str = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AAAA\",\"usage\":{\"input_tokens\":10,\"output_tokens\":4160,\"total_tokens\":4170,\"input_tokens_details\":{\"text_tokens\":7,\"image_tokens\":3}}}\n\n";
const EDITED: &str = "data: {\"type\":\"image_edit.completed\",\"b64_json\":\"AAAA\"}\n\n";
const SPOKEN: &str = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\ndata: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n";
const HEARD: &str = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"I\",\"logprobs\":[]}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"I\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":4,\"audio_tokens\":10},\"output_tokens\":45,\"total_tokens\":59}}\n\n";
const CHATTED: &str = "data: {\"object\":\"transcription.chunk\",\"model\":\"up\",\"choices\":[{\"delta\":{\"content\":\"I\"}}]}\n\ndata: {\"object\":\"transcription.chunk\",\"model\":\"up\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";

#[test]
fn every_stream_ends_with_its_own_word_and_says_what_it_used() {
    for (operation, stream, usage) in [
        (IMAGES, [PARTIAL, COMPLETED].concat(), Some([10, 4160, 0, 0, 0])),
        (IMAGES, [PARTIAL, COMPLETED, PARTIAL, COMPLETED].concat(), Some([10, 4160, 0, 0, 0])),
        (IMAGES, [COMPLETED, "data: [DONE]\n\n"].concat(), Some([10, 4160, 0, 0, 0])),
        (Operation::ImageEdits, [PARTIAL, EDITED].concat(), None),
        (Operation::Speech, SPOKEN.to_owned(), Some([14, 101, 0, 0, 0])),
        (Operation::Transcriptions, HEARD.to_owned(), Some([14, 45, 0, 0, 0])),
        (Operation::Transcriptions, CHATTED.to_owned(), Some([9, 2, 0, 0, 0])),
    ] {
        for at in 0..=stream.len() {
            let (one, other) = stream.as_bytes().split_at(at);
            let seen = watch(operation, None, &[one, other]);
            assert_eq!((seen.out, seen.phase, seen.usage), (stream.clone(), Phase::Terminal, usage), "{at}");
        }
    }
    let renamed = whole(Operation::Transcriptions, Some("asked"), CHATTED);
    assert_eq!(renamed.out, CHATTED.replace("\"up\"", "\"asked\""));
}

#[test]
fn a_cut_before_the_word_is_a_cut_and_an_error_is_one() {
    for (operation, stream, phase) in [
        (IMAGES, PARTIAL.to_owned(), Phase::Content),
        (IMAGES, [COMPLETED, PARTIAL].concat(), Phase::Content),
        (
            IMAGES,
            [PARTIAL, "event: error\ndata: {\"error\":{\"message\":\"no\"}}\n\n"].concat(),
            Phase::Failed,
        ),
        (IMAGES, [PARTIAL, "data: {\"type\":\"error\",\"message\":\"no\"}\n\n"].concat(), Phase::Failed),
        (Operation::Speech, SPOKEN.split_inclusive("\n\n").next().unwrap().to_owned(), Phase::Content),
    ] {
        assert_eq!(whole(operation, None, &stream).phase, phase, "{stream}");
    }
    let first = whole(IMAGES, None, "data: {\"error\":{\"message\":\"no\"}}\n\n");
    assert!(matches!(first.progress, Progress::ErrorFirst(_)) && first.out.is_empty());
}

#[test]
fn a_picture_of_many_megabytes_passes_and_its_count_is_read() {
    let large = COMPLETED.replace("AAAA", &"A".repeat(3 << 20));
    for size in [large.len(), 64 * 1024, 1000] {
        let stream = [PARTIAL, &large].concat();
        let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
        let seen = watch(IMAGES, None, &chunks);
        assert!(seen.out == stream, "every byte passes");
        assert_eq!((seen.phase, seen.usage), (Phase::Terminal, Some([10, 4160, 0, 0, 0])));
    }
}

#[test]
fn whole_answers_are_counted_in_the_words_of_their_provider() {
    let counts = |operation, body: &str| -> AnswerFacts { answer(operation, body.as_bytes()) };
    for (operation, body, by_type, apart) in [
        (
            IMAGES,
            r#"{"created":1,"data":[{"b64_json":"AA"}],"usage":{"input_tokens":50,"output_tokens":100,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#,
            Some([50, 100, 0, 0, 0]),
            ("input_image", 40),
        ),
        (
            Operation::Transcriptions,
            r#"{"text":"I","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45}}"#,
            Some([14, 45, 0, 0, 0]),
            ("input_audio", 14),
        ),
        (
            Operation::Transcriptions,
            r#"{"text":"I","usage":{"type":"duration","seconds":8.4}}"#,
            Some([0; 5]),
            ("audio_seconds", 9),
        ),
        (Operation::Translations, r#"{"text":"I","usage":{"type":"duration","seconds":-1}}"#, None, ("", 0)),
        (
            Operation::Translations,
            r#"{"text":"I","usage":{"type":"duration","seconds":1e300}}"#,
            None,
            ("", 0),
        ),
        (Operation::ImageVariations, r#"{"created":1,"data":[{"url":"u"}]}"#, None, ("", 0)),
        (
            Operation::Rerank,
            r#"{"model":"j","usage":{"total_tokens":15},"results":[]}"#,
            Some([15, 0, 0, 0, 0]),
            ("", 0),
        ),
        (
            Operation::Rerank,
            r#"{"results":[],"meta":{"tokens":{"input_tokens":7,"output_tokens":0}}}"#,
            Some([7, 0, 0, 0, 0]),
            ("", 0),
        ),
        (
            Operation::Rerank,
            r#"{"results":[],"meta":{"billed_units":{"search_units":1}}}"#,
            Some([0; 5]),
            ("", 0),
        ),
        (Operation::Rerank, r#"{"results":[],"meta":{"billed_units":{"search_units":3}}}"#, None, ("", 0)),
        (
            Operation::Moderations,
            r#"{"id":"m","model":"o","usage":{"prompt_tokens":1},"results":[]}"#,
            None,
            ("", 0),
        ),
    ] {
        let usage = counts(operation, body).usage;
        assert_eq!(usage.map(|usage| usage.by_type().map(|(_, count)| count)), by_type, "{body}");
        let beside: Option<Vec<_>> =
            usage.map(|usage| usage.apart().into_iter().filter(|(_, count)| *count > 0).collect());
        let expected: Vec<_> = Some(apart).into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(beside.unwrap_or_default(), expected, "{body}");
    }
    assert_eq!(counts(Operation::Moderations, r#"{"model":"o"}"#).models.first(), Some(&(9..12)));
}
