//! A request with the word of who asks, where that is made when it is sent.
//!
//! Invariant: what was put in stands among the secrets, so that it is in nothing that is told of the attempt.

use crate::cloud::aws;
use crate::config::snapshot::{Aws, Channel, Google, Identity};
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::forward::Outcome;
use crate::gateway::peer::Upstream;
use crate::protocol::fields::names;
use crate::secret::Secret;
use crate::stage::rewrite::Outgoing;
use std::sync::Arc;

/// A request that says who asks.
#[derive(Debug)]
pub struct Signed {
    /// What is sent.
    pub outgoing: Outgoing,
    /// What is secret of it; what was put in comes first.
    pub secrets: Vec<Secret>,
    /// Whose token it has, where that had been kept.
    kept: Option<Arc<Google>>,
}

impl Upstream {
    /// The request as this credential sends it.
    pub async fn signed(
        &self,
        (channel, credential): (&Channel, &Secret),
        outgoing: &Outgoing,
    ) -> Result<Signed, Failure> {
        let no_word = |why| Failure::new(FailureKind::NoToken, Sent::NotBegun, why);
        let mut outgoing = outgoing.clone();
        let google = match channel.identity(credential) {
            Some(Identity::Google(google)) => google,
            Some(Identity::Aws(aws)) => {
                let headers = sign(aws, (channel, &outgoing), self.unix());
                let headers = headers.ok_or_else(|| no_word("the request cannot be signed"))?;
                for (name, value) in &headers {
                    outgoing.headers.replace(name, value.expose());
                }
                let mut secrets = aws.account.secrets();
                secrets.push(credential.clone());
                return Ok(Signed { outgoing, secrets, kept: None });
            }
            None => return Err(no_word("this credential is not the channel's")),
        };
        let (token, is_kept) = self.tokens().bearer(self, google).await?;
        outgoing.headers.set(names::AUTHORIZATION, format!("Bearer {}", token.expose()));
        let kept = is_kept.then(|| Arc::clone(google));
        Ok(Signed { outgoing, secrets: vec![token, credential.clone()], kept })
    }

    /// Whether the provider refuses a token that had been kept: it is forgotten, and one more may be issued.
    pub fn was_out_of_date(&self, signed: &Signed, outcome: &Outcome) -> bool {
        let refused = matches!(outcome, Outcome::Failed(failure) if failure.status == Some(401));
        let Some(google) = signed.kept.as_ref().filter(|_| refused) else { return false };
        if let Some(token) = signed.secrets.first() {
            self.tokens().forget(google, token);
        }
        true
    }
}

fn sign(aws: &Aws, (channel, outgoing): (&Channel, &Outgoing), unix: u64) -> Option<Vec<(String, Secret)>> {
    let signed = aws::Signed {
        method: outgoing.method.as_str(),
        authority: &channel.endpoint.authority,
        target: &outgoing.target,
        content_type: outgoing.headers.text(names::CONTENT_TYPE),
        body: &outgoing.body,
        anthropics: outgoing.headers.has("anthropic-version"),
    };
    aws.account.sign(&signed, &aws.scope, unix)
}
