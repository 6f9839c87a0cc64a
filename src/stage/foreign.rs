//! Thinking in a conversation that another provider signed: what each channel may be sent of it.
//!
//! By `foreign_thinking` a channel gets the conversation without those blocks, or is no candidate. A block
//! whose signer is not known is sent as it is; where the provider then refuses it and the channel strips, the
//! same channel is asked once more without any signed thinking (decision 0006).
//! What came with a translated answer bears its own family's signature under a seal, which no channel of the
//! client's protocol can verify: it is foreign to all of them, unless one of them gave it (a gateway behind it
//! translates). For channels of other protocols translation opens the seals.
//! Invariant: a block is taken away only where its signer is known to be another one, or where this channel
//! has refused the conversation for its signatures in this exchange.

use crate::code::Code;
use crate::config::snapshot::{Channel, ForeignThinking};
use crate::limit::Nanos;
use crate::protocol::signed::{Block, Signed};
use crate::protocol::splice::Edit;
use crate::protocol::{Grammar, Operation};
use crate::refusal::Refusal;
use crate::stage::plan::Plan;
use crate::state::Live;
use crate::state::signers::{Signer, Signers};

/// The signed thinking of one conversation.
#[derive(Debug)]
pub struct Thinking {
    operation: Operation,
    signed: Signed,
    /// Who signed each block, where it is known.
    signers: Vec<Option<Signer>>,
    /// Channels that could not verify it.
    refused_by: Vec<usize>,
}

/// What one attempt is sent of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stripped {
    /// What is cut out of the body, in its order.
    pub edits: Vec<Edit>,
    /// How many blocks that takes away.
    pub blocks: u32,
    /// Whether more could be taken away, should the provider refuse what is left.
    pub more: bool,
}

/// Finds the signed thinking of a request and who signed it.
pub fn read(signers: &Signers, operation: Operation, body: &[u8], now: Nanos) -> Thinking {
    let signed = Signed::find(operation, body);
    let known = |block: &Block| block.digest.and_then(|digest| signers.signer(digest, now));
    let signers = signed.blocks().iter().map(known).collect();
    Thinking { operation, signed, signers, refused_by: Vec::new() }
}

impl Thinking {
    /// Takes the channels out of the plan that refuse what another provider signed.
    pub fn confine(&self, live: &Live, plan: &mut Plan) -> Result<(), Refusal> {
        // A count that is estimated has none, and needs none.
        let is_sealed = |block: &Block| block.sealed;
        let is_known = self.signers.iter().any(Option::is_some) || self.signed.blocks().iter().any(is_sealed);
        if !is_known || plan.candidates().is_empty() {
            return Ok(());
        }
        plan.retain(|channel| {
            channel.conduct.foreign_thinking == ForeignThinking::Strip
                || !(0..self.signers.len()).any(|number| self.is_foreign(number, live, channel))
        });
        if plan.candidates().is_empty() { Err(self.refusal()) } else { Ok(()) }
    }

    /// What this channel gets.
    pub fn stripped(&self, live: &Live, channel: &Channel) -> Stripped {
        let all = self.signed.blocks().len();
        if all == 0 || channel.conduct.foreign_thinking == ForeignThinking::Refuse {
            return Stripped::default();
        }
        let refused = self.refused_by.contains(&channel.index);
        let gone = |number| refused || self.is_foreign(number, live, channel);
        let blocks = (0..all).filter(|number| gone(*number)).count();
        let edits = if blocks == 0 { Vec::new() } else { self.signed.without(&gone) };
        Stripped { edits, blocks: u32::try_from(blocks).unwrap_or(u32::MAX), more: blocks < all }
    }

    /// Books that this channel could not verify what was left: it gets none of it any more.
    pub fn refused_by(&mut self, channel: &Channel) {
        self.refused_by.push(channel.index);
    }

    fn is_foreign(&self, number: usize, live: &Live, channel: &Channel) -> bool {
        // What belongs to no protocol has no signed thinking.
        let Some(protocol) = self.operation.belongs_to() else { return false };
        if let Some(signer) = self.signers.get(number).and_then(Option::as_ref) {
            return signer != live.channel(channel.index).signer(protocol);
        }
        let is_sealed = self.signed.blocks().get(number).is_some_and(|block| block.sealed);
        is_sealed && channel.protocols.contains(&protocol)
    }

    fn refusal(&self) -> Refusal {
        let (param, blocks) = match self.operation.grammar() {
            Grammar::Messages => ("messages", "`thinking` and `redacted_thinking` blocks"),
            Grammar::Responses => ("input", "`reasoning` items"),
            Grammar::Gemini | Grammar::Chat | Grammar::Media => ("contents", "`thoughtSignature` fields"),
        };
        let message = format!(
            "The conversation holds thinking that another AI provider signed, and none that may serve it now \
             accepts that. Go on without its {blocks}, or begin a new conversation."
        );
        Refusal::new(Code::InvalidRequest, message).param(param)
    }
}
