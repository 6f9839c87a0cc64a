//! Compressed request bodies, read back to what the client meant.
//!
//! Invariant: memory follows the limit, never what the compressed bytes promise: output stops at the limit,
//! and a decoder's own window is bounded. A body that ends early or goes on too long is refused, not guessed.

use crate::code::Code;
use crate::refusal::{Refusal, quoted};
use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use std::io::Read;
use std::time::Duration;

/// What decoding may take.
pub struct Room<'a> {
    /// The most bytes of a result, of each round.
    pub limit: usize,
    /// Asked before so many more bytes are allocated; `false` ends the decoding.
    pub grant: &'a mut dyn FnMut(usize) -> bool,
}

impl std::fmt::Debug for Room<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The body behind `Content-Encoding`, where the limit is all that bounds it.
pub fn decode(content_encoding: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, Refusal> {
    decode_within(content_encoding, body, &mut Room { limit, grant: &mut |_| true })
}

/// The body behind `Content-Encoding`, codings undone from the last to the first.
pub fn decode_within(content_encoding: &str, body: &[u8], room: &mut Room<'_>) -> Result<Vec<u8>, Refusal> {
    let codings: Vec<&str> = content_encoding
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        .take(CODINGS_MAX + 1)
        .collect();
    if codings.len() > CODINGS_MAX {
        let message =
            format!("The body is encoded more than {CODINGS_MAX} times. Encode it once, or not at all.");
        return Err(Refusal::new(Code::UnsupportedContentEncoding, message));
    }
    let mut decoded: Option<Vec<u8>> = None;
    for coding in codings.iter().rev() {
        decoded = Some(undo(coding, decoded.as_deref().unwrap_or(body), room)?);
    }
    if let Some(decoded) = decoded {
        return Ok(decoded);
    }
    let mut plain = Vec::new();
    append(&mut plain, body, room)?;
    Ok(plain)
}

fn undo(coding: &str, body: &[u8], room: &mut Room<'_>) -> Result<Vec<u8>, Refusal> {
    match coding.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => drain(flate2::bufread::MultiGzDecoder::new(body), coding, room),
        "br" => unbrotli(body, room),
        "zstd" => {
            let mut decoder = zstd::Decoder::with_buffer(body).map_err(|_| corrupt(coding))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| corrupt(coding))?;
            drain(decoder, coding, room)
        }
        "deflate" => deflate(body, room),
        _ => Err(Refusal::new(
            Code::UnsupportedContentEncoding,
            format!(
                "The content-encoding {} cannot be read here. Use gzip, br, zstd, deflate, or none.",
                quoted(coding)
            ),
        )),
    }
}

fn drain(mut reader: impl Read, coding: &str, room: &mut Room<'_>) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let mut block = [0u8; BLOCK_BYTES];
    loop {
        let read = reader.read(&mut block).map_err(|_| corrupt(coding))?;
        if read == 0 {
            return Ok(out);
        }
        append(&mut out, &block[..read], room)?;
    }
}

/// brotli's reader takes windows up to 1 GiB and overlooks what follows the stream; this loop does neither.
fn unbrotli(body: &[u8], room: &mut Room<'_>) -> Result<Vec<u8>, Refusal> {
    let (bytes, words, codes) =
        (StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default());
    let mut state = BrotliState::new_strict(bytes, words, codes);
    let mut out = Vec::new();
    let mut block = [0u8; BLOCK_BYTES];
    let (mut left, mut at, mut total) = (body.len(), 0, 0);
    loop {
        let (mut free, mut made) = (block.len(), 0);
        let result = BrotliDecompressStream(
            &mut left, &mut at, body, &mut free, &mut made, &mut block, &mut total, &mut state,
        );
        append(&mut out, block.get(..made).unwrap_or_default(), room)?;
        match result {
            BrotliResult::ResultSuccess if left == 0 => return Ok(out),
            BrotliResult::NeedsMoreOutput => {}
            _ => return Err(corrupt("br")),
        }
    }
}

/// The name covers two formats: zlib, which the standard means, and the raw stream some programs send. A raw
/// stream may look like zlib by its first two bytes, so a failure there is not the last word.
fn deflate(body: &[u8], room: &mut Room<'_>) -> Result<Vec<u8>, Refusal> {
    let zlib_header = match body {
        [first, second, ..] => {
            first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31)
        }
        _ => false,
    };
    match inflate(body, zlib_header, room) {
        Err(refusal) if zlib_header && refusal.code == Code::InvalidRequest => inflate(body, false, room),
        done => done,
    }
}

/// flate2's readers take a truncated stream for a finished one; this loop does not.
fn inflate(body: &[u8], zlib_header: bool, room: &mut Room<'_>) -> Result<Vec<u8>, Refusal> {
    let mut stream = Decompress::new(zlib_header);
    let mut out = Vec::new();
    let mut block = [0u8; BLOCK_BYTES];
    let mut rest = body;
    loop {
        let (before_in, before_out) = (stream.total_in(), stream.total_out());
        let status =
            stream.decompress(rest, &mut block, FlushDecompress::None).map_err(|_| corrupt("deflate"))?;
        let taken = usize::try_from(stream.total_in() - before_in).unwrap_or(usize::MAX);
        let made = usize::try_from(stream.total_out() - before_out).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        append(&mut out, block.get(..made).unwrap_or_default(), room)?;
        match status {
            Status::StreamEnd if rest.is_empty() => return Ok(out),
            Status::StreamEnd => return Err(corrupt("deflate")),
            Status::Ok | Status::BufError if taken == 0 && made == 0 => return Err(corrupt("deflate")),
            Status::Ok | Status::BufError => {}
        }
    }
}

/// Appends a block; capacity doubles where it is granted, but never past the limit.
fn append(out: &mut Vec<u8>, block: &[u8], room: &mut Room<'_>) -> Result<(), Refusal> {
    let needed = out.len() + block.len();
    if needed > room.limit {
        return Err(too_large(room.limit));
    }
    if needed > out.capacity() {
        let doubled = out.capacity().saturating_mul(2).clamp(needed, room.limit);
        let granted = [doubled, needed].into_iter().find(|wanted| (room.grant)(wanted - out.capacity()));
        let wanted = granted.ok_or_else(overloaded)?;
        out.reserve_exact(wanted - out.len());
    }
    out.extend_from_slice(block);
    Ok(())
}

/// Why a large request is refused that another time would be taken.
pub fn overloaded() -> Refusal {
    Refusal::new(Code::GatewayOverloaded, "Too many large requests at once. Try again in a moment.")
        .retry_after(OVERLOADED_WAIT)
}

fn corrupt(coding: &str) -> Refusal {
    let message =
        format!("The body is not complete, valid {}, as its content-encoding says.", quoted(coding));
    Refusal::new(Code::InvalidRequest, message)
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("The decoded body is over the limit of {limit} bytes. Send less at once.");
    Refusal::new(Code::BodyTooLarge, message)
}

/// Nobody encodes a body more often than that, and each round costs a buffer.
const CODINGS_MAX: usize = 3;
const OVERLOADED_WAIT: Duration = Duration::from_secs(1);
const BLOCK_BYTES: usize = 16 * 1024;
/// 8 MiB, the window RFC 9659 allows on the web.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn encode(coding: &str, body: &[u8]) -> Vec<u8> {
        match coding {
            "gzip" | "x-gzip" | "GZIP" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            "zlib" => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            "raw" => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            "br" => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(body).unwrap();
                out
            }
            "zstd" => zstd::encode_all(body, 3).unwrap(),
            other => panic!("{other}"),
        }
    }

    /// The coding as encoded here and as named in the header.
    const FORMS: [(&str, &str); 7] = [
        ("gzip", "gzip"),
        ("gzip", "x-gzip"),
        ("gzip", " GZIP "),
        ("br", "br"),
        ("zstd", "zstd"),
        ("zlib", "deflate"),
        ("raw", "deflate"),
    ];

    const TEXT: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"hello hello hello hello"}]}"#;

    #[test]
    fn a_cut_or_damaged_body_is_refused_in_every_coding() {
        for (form, name) in FORMS {
            let encoded = encode(form, TEXT);
            assert_eq!(decode(name, &encoded, TEXT.len()).unwrap(), TEXT, "{name}");
            for cut in 0..encoded.len() {
                let refusal = decode(name, &encoded[..cut], 4096).expect_err(&format!("{form} cut at {cut}"));
                assert_eq!(refusal.code, Code::InvalidRequest, "{form} cut at {cut}");
            }
            let longer = [&encoded[..], b"and more"].concat();
            assert_eq!(
                decode(name, &longer, 4096).map_err(|refusal| refusal.code),
                Err(Code::InvalidRequest),
                "{name}"
            );
            assert_eq!(decode(name, b"not compressed", 4096).unwrap_err().code, Code::InvalidRequest);
        }
    }

    #[test]
    fn output_stops_at_the_limit() {
        let bomb = vec![b' '; 8 << 20];
        for (form, name) in FORMS {
            let encoded = encode(form, &bomb);
            assert_eq!(decode(name, &encoded, 1 << 20).unwrap_err().code, Code::BodyTooLarge, "{name}");
            assert_eq!(
                decode(name, &encode(form, TEXT), TEXT.len() - 1).unwrap_err().code,
                Code::BodyTooLarge
            );
            let exact = decode(name, &encoded, bomb.len()).unwrap();
            assert!(exact.capacity() <= bomb.len() + BLOCK_BYTES, "{name}");
        }
        assert_eq!(decode("identity", TEXT, 4).unwrap_err().code, Code::BodyTooLarge);
    }

    #[test]
    fn nothing_is_allocated_that_was_not_granted() {
        let bomb = vec![b' '; 8 << 20];
        for (form, name) in FORMS {
            let encoded = encode(form, &bomb);
            let (mut left, mut asked) = (1_usize << 20, 0);
            let mut grant = |more: usize| {
                asked += 1;
                left.checked_sub(more).map(|rest| left = rest).is_some()
            };
            let room = &mut Room { limit: 16 << 20, grant: &mut grant };
            let code = decode_within(name, &encoded, room).map_err(|refusal| refusal.code);
            assert_eq!(code, Err(Code::GatewayOverloaded), "{name}");
            assert!(asked > 1 && left < 1 << 20, "{name}: {asked} {left}");
        }
    }

    #[test]
    fn chains_are_undone_from_the_last_and_are_bounded() {
        let twice = encode("br", &encode("gzip", TEXT));
        assert_eq!(decode("gzip, br", &twice, 4096).unwrap(), TEXT);
        assert_eq!(decode("gzip, identity, br", &twice, 4096).unwrap(), TEXT);
        assert_eq!(decode("", TEXT, 4096).unwrap(), TEXT);
        assert_eq!(decode("identity", TEXT, 4096).unwrap(), TEXT);
        for unknown in ["compress", "gzip, snappy", "gzip,gzip,gzip,gzip", "gzip;q=1", "br gzip"] {
            let code = decode(unknown, &twice, 4096).unwrap_err().code;
            assert_eq!(code, Code::UnsupportedContentEncoding, "{unknown}");
        }
    }

    #[test]
    fn a_frame_that_wants_a_huge_window_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(TEXT).unwrap();
        let encoded = encoder.finish().unwrap();
        assert_eq!(decode("zstd", &encoded, 4096).unwrap_err().code, Code::InvalidRequest);
        let params = brotli::enc::BrotliEncoderParams {
            large_window: true,
            lgwin: 28,
            ..brotli::enc::BrotliEncoderParams::default()
        };
        let mut encoded = Vec::new();
        brotli::BrotliCompress(&mut &TEXT[..], &mut encoded, &params).unwrap();
        assert_eq!(decode("br", &encoded, 4096).unwrap_err().code, Code::InvalidRequest);
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(body in prop::collection::vec(any::<u8>(), 0..2000), form in 0..FORMS.len()) {
            let (form, name) = FORMS[form];
            prop_assert_eq!(decode(name, &encode(form, &body), 4096).unwrap(), body);
        }

        #[test]
        fn noise_never_panics(body in prop::collection::vec(any::<u8>(), 0..300), form in 0..FORMS.len()) {
            let decoded = decode(FORMS[form].1, &body, 4096);
            prop_assert!(decoded.is_err() || decoded.is_ok_and(|out| out.len() <= 4096));
        }
    }
}
