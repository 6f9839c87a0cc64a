//! `OpenAI`'s pictures and sound, and rerank as Jina and Cohere answer it.
//!
//! Invariant: a picture and a sound are as long as the text of the story, so a fault that makes that long makes them
//! long; answers to forms carry `sha256` of the file besides the published fields.

use crate::body::Facts;
use crate::reply::{Reply, Sse};
use crate::story::Story;

const IMAGE_USAGE: &str = r#"{"input_tokens":$input,"input_tokens_details":{"image_tokens":$cache_read,"text_tokens":$plain_input},"output_tokens":$output,"total_tokens":$total}"#;
const SPEECH_USAGE: &str = r#"{"input_tokens":$input,"output_tokens":$output,"total_tokens":$total}"#;
const HEARD_USAGE: &str = r#"{"type":"tokens","input_tokens":$input,"input_token_details":{"text_tokens":0,"audio_tokens":$input},"output_tokens":$output,"total_tokens":$total}"#;
/// The models that are billed by time.
const BY_TIME: &str = "whisper";
const PARTIAL_IMAGES: usize = 2;

fn bytes_long(story: &Story) -> usize {
    story.pieces.iter().map(String::len).sum::<usize>().max(4)
}

/// Base64 of a picture, in whole groups.
fn picture(story: &Story) -> String {
    "iVBO".repeat(bytes_long(story).div_ceil(4))
}

fn digest(facts: &Facts) -> String {
    facts.digest.as_ref().map_or_else(String::new, |digest| format!(r#","sha256":"{digest}""#))
}

pub(crate) fn images(story: &Story, facts: &Facts) -> Reply {
    let data = if facts.format == "url" {
        r#"{"url":"https://images.fake.example/1.png","revised_prompt":null}"#.to_owned()
    } else {
        format!(r#"{{"b64_json":"{}"}}"#, picture(story))
    };
    let digest = digest(facts);
    let template = format!(
        r#"{{"created":1760000000,"background":"opaque","data":[{data}],"output_format":"png","quality":"high","size":"1024x1024"{digest},"usage":{IMAGE_USAGE}}}"#
    );
    Reply::json(200, story.tell(&template, ""))
}

pub(crate) fn image_stream(story: &Story, kind: &str) -> Reply {
    let picture = picture(story);
    let about = r#""created_at":1760000000,"background":"opaque","output_format":"png","quality":"high","size":"1024x1024""#;
    let mut sse = Sse::default();
    for index in 0..PARTIAL_IMAGES {
        let name = format!("{kind}.partial_image");
        let data =
            format!(r#"{{"type":"{name}","b64_json":"{picture}",{about},"partial_image_index":{index}}}"#);
        sse.named(&name, &data);
    }
    let name = format!("{kind}.completed");
    let template = format!(r#"{{"type":"{name}","b64_json":"{picture}",{about},"usage":{IMAGE_USAGE}}}"#);
    sse.named(&name, &story.tell(&template, ""));
    sse.reply()
}

pub(crate) fn speech(story: &Story) -> Reply {
    // No text in any encoding: what cannot pass as bytes is broken on the way.
    let sound: Vec<u8> = (0..=u8::MAX).rev().cycle().take(bytes_long(story).max(4096)).collect();
    Reply::whole(200, "audio/mpeg", sound)
}

pub(crate) fn speech_stream(story: &Story) -> Reply {
    let mut sse = Sse::default();
    for piece in &story.pieces {
        let audio = "//uQ".repeat(piece.len().div_ceil(4));
        sse.data(&format!(r#"{{"type":"speech.audio.delta","audio":"{audio}"}}"#));
    }
    sse.data(&story.tell(&format!(r#"{{"type":"speech.audio.done","usage":{SPEECH_USAGE}}}"#), ""));
    sse.reply()
}

pub(crate) fn transcript(story: &Story, facts: &Facts) -> Reply {
    let text = story.pieces.concat();
    if matches!(facts.format.as_str(), "text" | "srt" | "vtt") {
        return Reply::whole(200, "text/plain; charset=utf-8", format!("{text}\n"));
    }
    let by_time = story.model.starts_with(BY_TIME);
    let usage = if by_time { r#"{"type":"duration","seconds":9}"# } else { HEARD_USAGE };
    let verbose = r#""task":"transcribe","language":"english","duration":8.47,"segments":[],"#;
    let verbose = if facts.format == "verbose_json" { verbose } else { "" };
    let digest = digest(facts);
    Reply::json(200, story.tell_all(&format!(r#"{{{verbose}"text":$text{digest},"usage":{usage}}}"#)))
}

pub(crate) fn transcript_stream(story: &Story) -> Reply {
    let mut sse = Sse::default();
    for piece in &story.pieces {
        sse.data(&story.tell(r#"{"type":"transcript.text.delta","delta":$text}"#, piece));
    }
    let done = format!(r#"{{"type":"transcript.text.done","text":$text,"usage":{HEARD_USAGE}}}"#);
    sse.data(&story.tell_all(&done));
    sse.reply()
}

pub(crate) fn rerank(story: &Story, facts: &Facts, v2: bool) -> Reply {
    let result = |index: usize| format!(r#"{{"index":{index},"relevance_score":0.5}}"#);
    let results: Vec<String> = (0..facts.inputs).map(result).collect();
    let results = results.join(",");
    let template = if v2 {
        format!(
            r#"{{"id":"rerank-fake","results":[{results}],"meta":{{"api_version":{{"version":"2"}},"billed_units":{{"search_units":1}}}}}}"#
        )
    } else {
        format!(
            r#"{{"model":$model,"object":"list","usage":{{"total_tokens":$input}},"results":[{results}]}}"#
        )
    };
    Reply::json(200, story.tell(&template, ""))
}
