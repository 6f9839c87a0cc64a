//! Thinking that a provider signed: where it stands in a conversation, and what signatures an answer gives.
//!
//! A provider refuses a conversation with a signature it did not make, so a conversation that leaves its
//! signer must leave these blocks behind (decision 0006). What counts is their place in the protocol: text
//! that looks like a block, in a string, a tool's result or a user's turn, is left alone.
//! Invariants: an edit takes away a block, the one comma that goes with it, and nothing else; what remains
//! is valid JSON; a body without the words of its protocol is not walked at all.

mod walk;

use self::walk::{Sibling, Siblings, is_word, past_space, text};
use super::splice::Edit;
use super::{Grammar, Operation};
use bytes::Bytes;
use memchr::memmem;
use sha2::{Digest as _, Sha256};
use std::ops::Range;

/// What a signature is known by. Only its end and its length count: the end is the part no two share, and a
/// conversation may hold hundreds of kilobytes of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignatureDigest([u8; 16]);

impl SignatureDigest {
    /// The digest of a signature; an empty one is none.
    pub fn of(signature: &str) -> Option<Self> {
        if signature.is_empty() {
            return None;
        }
        let bytes = signature.as_bytes();
        let mut hash = Sha256::new();
        hash.update(bytes.len().to_le_bytes());
        hash.update(&bytes[bytes.len().saturating_sub(DIGESTED_BYTES)..]);
        let whole: [u8; 32] = hash.finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&whole[..16]);
        Some(Self(short))
    }

    /// A number that spreads digests evenly.
    pub fn spread(self) -> usize {
        usize::from(self.0[0])
    }
}

/// What is known of one block by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Block {
    /// The digest of its signature; `None` where it bears none.
    pub digest: Option<SignatureDigest>,
    /// Its signature is another family's, under the seal of whoever translated the answer it came with: no provider
    /// of this protocol made it. A family's own signature is never sealed on its way through its own protocol.
    pub sealed: bool,
}

impl Block {
    fn of(signature: &str) -> Self {
        let sealed = signature.starts_with(SEAL) || signature.starts_with(SEAL_IN_BASE64);
        Self { digest: SignatureDigest::of(signature), sealed }
    }
}

/// What a signature of another family begins with where a client of this protocol carries it (decision 0018). Twelve
/// bytes, so that it begins the same in base64 whatever follows.
pub const SEAL: &str = "tollgate.01.";
/// The same where the protocol has bytes in that place, which are base64 in JSON (Gemini).
pub const SEAL_IN_BASE64: &str = "dG9sbGdhdGUuMDEu";

/// The blocks of one conversation, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    blocks: Vec<Block>,
    roots: Vec<List>,
}

/// An array or an object with blocks in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct List {
    /// How many siblings there are, blocks or not.
    len: usize,
    /// Those that are blocks or have blocks in them.
    items: Vec<Item>,
    /// Whether its siblings must stay: a single object where the protocol has a list.
    fixed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    index: usize,
    at: Range<usize>,
    previous_end: usize,
    next_start: Option<usize>,
    mark: Mark,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    /// It is the block of this number.
    Block(usize),
    /// The block of this number is a value that must not be missing: it becomes [`GEMINI_UNSIGNED`].
    Value(usize, Range<usize>),
    /// It has blocks in it. Of a key that is there twice the last one counts.
    Inner(Vec<List>),
}

impl Signed {
    /// Finds them in the body of a request, which is valid JSON.
    pub fn find(operation: Operation, body: &[u8]) -> Self {
        let grammar = operation.grammar();
        if !operation.is_exchange() || !mentions(grammar, body) {
            return Self::default();
        }
        let root = match grammar {
            Grammar::Messages => "messages",
            Grammar::Responses => "input",
            Grammar::Gemini => "contents",
            Grammar::Chat | Grammar::Media => return Self::default(),
        };
        let mut finder = Finder { json: body, blocks: Vec::new() };
        let roots = Siblings::of(body, past_space(body, 0))
            .filter(|member| is_word(body, &member.key, root))
            .filter_map(|member| match grammar {
                Grammar::Messages => finder.array(&member.value, Finder::message),
                Grammar::Responses => finder.array(&member.value, Finder::input),
                _ => finder.one_or_more(&member.value, Finder::content),
            })
            .collect();
        Self { blocks: finder.blocks, roots }
    }

    /// Each of them.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Takes away the blocks whose number is `gone`: edits in the body's order. A message that has nothing
    /// left goes too, since no provider takes an empty one.
    pub fn without(&self, gone: &dyn Fn(usize) -> bool) -> Vec<Edit> {
        let mut edits = Vec::new();
        for root in &self.roots {
            root.without(gone, &mut edits);
        }
        edits
    }
}

impl List {
    /// Adds its edits; says whether all of it goes.
    fn without(&self, gone: &dyn Fn(usize) -> bool, edits: &mut Vec<Edit>) -> bool {
        let mut removed = 0;
        for item in &self.items {
            let before = edits.len();
            let goes = match &item.mark {
                Mark::Block(number) => gone(*number),
                Mark::Value(number, value) => {
                    if gone(*number) {
                        edits.push(Edit { at: value.clone(), with: Bytes::from_static(GEMINI_UNSIGNED) });
                    }
                    false
                }
                Mark::Inner(lists) => lists.iter().fold(false, |_, list| list.without(gone, edits)),
            };
            if goes && !self.fixed {
                edits.truncate(before);
                edits.push(Edit::remove(item.span(removed == item.index)));
                removed += 1;
            }
        }
        removed == self.len
    }
}

impl Item {
    /// What goes with it: the comma before it, or, where everything before it goes, the one after it.
    fn span(&self, first: bool) -> Range<usize> {
        if first {
            self.at.start..self.next_start.unwrap_or(self.at.end)
        } else {
            self.previous_end..self.at.end
        }
    }
}

/// Walks a body and numbers the blocks.
struct Finder<'a> {
    json: &'a [u8],
    blocks: Vec<Block>,
}

/// What a sibling is, if anything.
type Look<'a> = fn(&mut Finder<'a>, &Sibling) -> Option<Mark>;

impl<'a> Finder<'a> {
    fn array(&mut self, at: &Range<usize>, look: Look<'a>) -> Option<List> {
        (self.json.get(at.start) == Some(&b'[')).then(|| self.list(at.start, look)).flatten()
    }

    /// Google reads a single object where a list is expected.
    fn one_or_more(&mut self, at: &Range<usize>, look: Look<'a>) -> Option<List> {
        if self.json.get(at.start) != Some(&b'{') {
            return self.array(at, look);
        }
        let mark = look(self, &Sibling { key: at.start..at.start, value: at.clone() })?;
        let item = Item { index: 0, at: at.clone(), previous_end: at.start, next_start: None, mark };
        Some(List { len: 1, items: vec![item], fixed: true })
    }

    fn list(&mut self, start: usize, look: Look<'a>) -> Option<List> {
        let mut list = List { len: 0, items: Vec::new(), fixed: false };
        let mut previous_end = start + 1;
        for sibling in Siblings::of(self.json, start) {
            let at = sibling.at();
            if let Some(last) = list.items.last_mut().filter(|last| last.index + 1 == list.len) {
                last.next_start = Some(at.start);
            }
            if self.blocks.len() < SIGNED_BLOCKS_MAX
                && let Some(mark) = look(self, &sibling)
            {
                let item = Item { index: list.len, at: at.clone(), previous_end, next_start: None, mark };
                list.items.push(item);
            }
            list.len += 1;
            previous_end = at.end;
        }
        (!list.items.is_empty()).then_some(list)
    }

    fn number(&mut self, block: Block) -> usize {
        self.blocks.push(block);
        self.blocks.len() - 1
    }

    /// Anthropic: `{"role":"assistant","content":[…]}`.
    fn message(&mut self, sibling: &Sibling) -> Option<Mark> {
        let json = self.json;
        let members = || Siblings::of(json, sibling.value.start);
        let role = members().filter(|member| is_word(json, &member.key, "role")).last()?;
        if !is_word(json, &role.value, "assistant") {
            return None;
        }
        let contents = members().filter(|member| is_word(json, &member.key, "content"));
        inner(contents.map(|content| self.array(&content.value, Self::block)))
    }

    fn block(&mut self, sibling: &Sibling) -> Option<Mark> {
        let block = block(self.json, sibling.value.start)?;
        Some(Mark::Block(self.number(block)))
    }

    /// OpenAI's responses: `{"type":"reasoning",…}`.
    fn input(&mut self, sibling: &Sibling) -> Option<Mark> {
        let block = reasoning(self.json, sibling.value.start)?;
        Some(Mark::Block(self.number(block)))
    }

    /// Gemini: `{"role":"model","parts":[…]}`.
    fn content(&mut self, sibling: &Sibling) -> Option<Mark> {
        let json = self.json;
        let parts =
            Siblings::of(json, sibling.value.start).filter(|member| is_word(json, &member.key, "parts"));
        inner(parts.map(|parts| self.one_or_more(&parts.value, Self::part)))
    }

    /// Where the part calls a function the signature has to be there, so its value changes; elsewhere the
    /// member goes.
    fn part(&mut self, sibling: &Sibling) -> Option<Mark> {
        let json = self.json;
        let start = sibling.value.start;
        let calls = Siblings::of(json, start).any(|member| {
            is_word(json, &member.key, "functionCall") || is_word(json, &member.key, "function_call")
        });
        let look = if calls { Self::signature_value } else { Self::signature };
        inner(std::iter::once(self.list(start, look)))
    }

    fn signature(&mut self, member: &Sibling) -> Option<Mark> {
        let block = part_signature(self.json, member)?;
        Some(Mark::Block(self.number(block)))
    }

    fn signature_value(&mut self, member: &Sibling) -> Option<Mark> {
        let block = part_signature(self.json, member)?;
        Some(Mark::Value(self.number(block), member.value.clone()))
    }
}

fn inner(lists: impl Iterator<Item = Option<List>>) -> Option<Mark> {
    // A list without blocks is kept as one that never goes, so that the last of two still decides.
    let lists: Vec<_> =
        lists.map(|list| list.unwrap_or(List { len: 1, items: Vec::new(), fixed: true })).collect();
    lists.iter().any(|list| !list.items.is_empty()).then_some(Mark::Inner(lists))
}

/// Whether this is one of Anthropic's signed blocks, and its signature.
fn block(json: &[u8], start: usize) -> Option<Block> {
    let [kind, signature, data] = fields(json, start, ["type", "signature", "data"]);
    match &*text(json, &kind?)? {
        "thinking" => Some(signed(json, signature)),
        "redacted_thinking" => Some(signed(json, data)),
        _ => None,
    }
}

/// Whether this is one of OpenAI's reasoning items, and what stands for its signature.
fn reasoning(json: &[u8], start: usize) -> Option<Block> {
    let [kind, content] = fields(json, start, ["type", "encrypted_content"]);
    is_word(json, &kind?, "reasoning").then(|| signed(json, content))
}

fn part_signature(json: &[u8], member: &Sibling) -> Option<Block> {
    let named = ["thoughtSignature", "thought_signature"].iter().any(|name| is_word(json, &member.key, name));
    named.then(|| signed(json, Some(member.value.clone())))
}

/// A block with the signature at this place, where there is one.
fn signed(json: &[u8], at: Option<Range<usize>>) -> Block {
    at.and_then(|at| text(json, &at)).map_or_else(Block::default, |signature| Block::of(&signature))
}

/// The values of these keys of an object; of a key that is there twice the last one counts, as in most parsers.
fn fields<const N: usize>(json: &[u8], start: usize, names: [&str; N]) -> [Option<Range<usize>>; N] {
    let mut found = [const { None }; N];
    if json.get(start) == Some(&b'{') {
        for member in Siblings::of(json, start) {
            if let Some(at) = names.iter().position(|name| is_word(json, &member.key, name)) {
                found[at] = Some(member.value);
            }
        }
    }
    found
}

/// The signatures that an answer gives: a whole one, or the data of one event of a stream.
pub fn given(grammar: Grammar, answer: &[u8], found: &mut Vec<SignatureDigest>) {
    let start = past_space(answer, 0);
    if grammar == Grammar::Gemini && answer.get(start) == Some(&b'[') {
        // Without `alt=sse` a Gemini stream is one JSON array of chunks.
        Siblings::of(answer, start).for_each(|chunk| given_by(grammar, answer, chunk.value.start, found));
    } else {
        given_by(grammar, answer, start, found);
    }
}

fn given_by(grammar: Grammar, json: &[u8], start: usize, found: &mut Vec<SignatureDigest>) {
    let elements = |at: Option<Range<usize>>| {
        let at = at.filter(|at| json.get(at.start) == Some(&b'['));
        at.into_iter().flat_map(|at| Siblings::of(json, at.start)).map(|element| element.value.start)
    };
    let mut add = |block: Block| {
        if found.len() < SIGNED_BLOCKS_MAX {
            found.extend(block.digest);
        }
    };
    match grammar {
        Grammar::Chat | Grammar::Media => {}
        Grammar::Messages => {
            let [content, started, delta] = fields(json, start, ["content", "content_block", "delta"]);
            let starts = elements(content).chain(started.map(|at| at.start));
            starts.filter_map(|start| block(json, start)).for_each(&mut add);
            let [kind, signature] = delta.map_or([None, None], |at| fields(json, at.start, DELTA));
            if kind.is_some_and(|kind| is_word(json, &kind, "signature_delta")) {
                add(signed(json, signature));
            }
        }
        Grammar::Responses => {
            let [output, item] = fields(json, start, ["output", "item"]);
            let starts = elements(output).chain(item.map(|at| at.start));
            starts.filter_map(|start| reasoning(json, start)).for_each(&mut add);
        }
        Grammar::Gemini => {
            let [candidates] = fields(json, start, ["candidates"]);
            let contents = elements(candidates).filter_map(|start| {
                let [content] = fields(json, start, ["content"]);
                content
            });
            let parts = contents.flat_map(|content| {
                let [parts] = fields(json, content.start, ["parts"]);
                elements(parts)
            });
            let members = parts.flat_map(|start| Siblings::of(json, start));
            members.filter_map(|member| part_signature(json, &member)).for_each(&mut add);
        }
    }
}

/// Whether a word of signed thinking occurs at all, or could behind an escape.
pub fn mentions(grammar: Grammar, body: &[u8]) -> bool {
    let words: &[&[u8]] = match grammar {
        Grammar::Chat | Grammar::Media => return false,
        Grammar::Messages => &[b"\"signature\"", b"redacted_thinking", ESCAPED],
        Grammar::Responses => &[b"encrypted_content", ESCAPED],
        Grammar::Gemini => &[b"thoughtSignature", b"thought_signature", ESCAPED],
    };
    words.iter().any(|word| memmem::find(body, word).is_some())
}

const DELTA: [&str; 2] = ["type", "signature"];
/// How a letter of a key looks that is escaped.
const ESCAPED: &[u8] = b"\\u00";
/// Google's documented value for a call whose signature is not at hand; the only one that Vertex AI takes too.
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>
const GEMINI_UNSIGNED: &[u8] = b"\"skip_thought_signature_validator\"";
/// More than the part at the end of any signature that differs from all others.
const DIGESTED_BYTES: usize = 256;
/// No conversation is near it; past it blocks are relayed as they are.
const SIGNED_BLOCKS_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;
