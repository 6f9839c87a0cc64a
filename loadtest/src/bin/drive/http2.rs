//! A client that speaks HTTP/2: many exchanges on one connection, each of which may be reset.

use crate::answer::{Answer, Ended, How, Manner, When};
use crate::question::Question;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, SendStream};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// One connection; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
}

/// Ends the connection's task when it is dropped.
#[derive(Debug)]
pub(crate) struct Driving(AbortHandle);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<(Self, Driving)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        // The library's own guard against tiny frames would end the streams that are sent byte by byte.
        builder.data_frame_budget(1 << 30).initial_connection_window_size(8 << 20);
        let (requests, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        let driving = tokio::spawn(async move { connection.await.unwrap_or_default() });
        Ok((Self { requests }, Driving(driving.abort_handle())))
    }

    /// Asks.
    pub(crate) async fn ask(&self, question: &Question, manner: Manner) -> Answer {
        let mut answer = Answer { reused: true, ..Answer::default() };
        let (patience, otherwise) = manner.patience();
        let whole = timeout(patience, self.exchange(question, manner, &mut answer)).await;
        answer.ended = match whole {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) if answer.status == 0 => Ended::Nothing,
            Ok(Err(_)) => Ended::Cut,
            Err(_) => otherwise,
        };
        answer
    }

    async fn exchange(
        &self,
        question: &Question,
        manner: Manner,
        answer: &mut Answer,
    ) -> Result<Ended, h2::Error> {
        let mut client = self.requests.clone().ready().await?;
        let mut request = http::Request::post(format!("http://gateway{}", question.path()));
        for (name, value) in question.headers() {
            request = request.header(name, value);
        }
        let body = Bytes::from(question.body());
        let request = request.header("content-length", body.len());
        let request = request.body(()).map_err(|_| h2::Error::from(Reason::INTERNAL_ERROR))?;
        let (response, mut upload) = client.send_request(request, false)?;
        if let Some(how) = manner.leaves_at(When::InHead) {
            upload.send_reset(Reason::CANCEL);
            return Ok(Ended::Left(how));
        }
        if let Some(how) = manner.leaves_at(When::InBody) {
            send(&mut upload, body.slice(..body.len() / 2), false).await?;
            answer.asked = true;
            upload.send_reset(Reason::CANCEL);
            return Ok(Ended::Left(how));
        }
        // A gateway that answers early may stop the upload: its answer counts.
        answer.asked = send(&mut upload, body, true).await.is_ok();
        let response = response.await?;
        answer.status = response.status().as_u16();
        answer.headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        read(response.into_body(), manner, answer).await
    }
}

async fn send(upload: &mut SendStream<Bytes>, mut rest: Bytes, end: bool) -> Result<(), h2::Error> {
    while !rest.is_empty() {
        upload.reserve_capacity(rest.len());
        let granted = std::future::poll_fn(|context| upload.poll_capacity(context)).await;
        let granted = granted.unwrap_or(Err(Reason::CANCEL.into()))?;
        let part = rest.split_to(granted.min(rest.len()));
        upload.send_data(part, end && rest.is_empty())?;
    }
    Ok(())
}

async fn read(mut download: h2::RecvStream, manner: Manner, answer: &mut Answer) -> Result<Ended, h2::Error> {
    while let Some(data) = download.data().await {
        let data = data?;
        answer.body.extend_from_slice(&data);
        manner.got(data.len());
        // Dropping the stream before its end resets it.
        if let Some(how) = manner.has_enough(answer.body.len()) {
            return Ok(Ended::Left(how));
        }
        if let Some(pause) = manner.slow {
            sleep(pause).await;
        }
        download.flow_control().release_capacity(data.len())?;
    }
    Ok(Ended::Whole)
}

/// The only way to leave one stream.
pub(crate) const LEAVES: How = How::Reset;
