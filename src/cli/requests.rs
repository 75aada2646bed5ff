//! Sends requests one at a time on a connection that is kept open.

use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::cli::target::{Target, Wire};

/// The largest answer in bytes, which is a configuration with all its schemas.
const MAX_ANSWER: usize = 256 << 20;

type Link = Connection<TokioIo<Box<dyn Wire>>, Full<Bytes>>;

/// A connection on which requests are sent.
pub(super) struct Requests {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// Reads and writes for a connection. It has no task of its own: whoever waits for an answer polls it.
pub(super) struct Driver {
    connection: Pin<Box<Link>>,
    ended: bool,
}

impl Driver {
    /// Resolves with the result of `work`, and lets the connection read and write meanwhile.
    pub(super) async fn drive<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        std::future::poll_fn(|context| {
            // Once before, because the work may wait for what can be read, and once after, because it may have written
            // something.
            self.poll(context);
            let done = work.as_mut().poll(context);
            if done.is_pending() {
                self.poll(context);
            }
            done
        })
        .await
    }

    /// Polls the connection. If it ends, the request that waits for it reports that.
    fn poll(&mut self, context: &mut Context<'_>) {
        self.ended = self.ended || self.connection.as_mut().poll(context).is_ready();
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Requests {
    pub(super) async fn open(target: &Target) -> Result<Self, String> {
        let (sender, driver) = start(target, 0).await?;
        Ok(Self { target: target.clone(), sender, driver })
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.send(request(&self.target, Method::GET, path, Bytes::new())?).await
    }

    pub(super) async fn post(&mut self, path: &str, body: Bytes) -> Result<Answer, String> {
        self.send(request(&self.target, Method::POST, path, body)?).await
    }

    /// Sends a request. Reconnects if the connection was closed while idle.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        // Only a poll reveals that it was closed.
        self.driver.poll(&mut Context::from_waker(Waker::noop()));
        if self.driver.ended || self.sender.is_closed() {
            (self.sender, self.driver) = start(&self.target, 0).await?;
        }
        let answered = pin!(async {
            let response = self.sender.send_request(request).await.map_err(|error| unanswered(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| format!("the relay does not answer: {error}"))?.to_bytes();
            Ok(Answer { status, body })
        });
        self.driver.drive(answered).await
    }
}

/// Opens an endless answer on a connection of its own. Returns its head, and the driver needed to read on.
pub(super) async fn open_stream(
    target: &Target,
    number: usize,
    path: &str,
) -> Result<(Response<Incoming>, Driver), String> {
    let (mut sender, mut driver) = start(target, number).await?;
    let request = request(target, Method::GET, path, Bytes::new())?;
    let head = pin!(sender.send_request(request));
    let head = driver.drive(head).await.map_err(|error| unanswered(&error))?;
    Ok((head, driver))
}

/// Says that a request got no answer, or one that is not HTTP.
fn unanswered(error: &hyper::Error) -> String {
    match error.is_parse() {
        true => format!("the answer is not HTTP ({error}): does that port speak TLS?"),
        false => format!("the relay does not answer: {error}"),
    }
}

/// A request to this path, with the headers of every request.
pub(super) fn request(
    target: &Target,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::new(Full::new(body));
    *request.uri_mut() = path.parse().map_err(|_| format!("`{path}` is not a path"))?;
    *request.headers_mut() = target.headers().clone();
    if method == Method::POST {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    *request.method_mut() = method;
    Ok(request)
}

async fn start(target: &Target, number: usize) -> Result<(SendRequest<Full<Bytes>>, Driver), String> {
    let wire = target.connect(number).await.map_err(|error| format!("cannot connect: {error}"))?;
    let (sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(|error| error.to_string())?;
    Ok((sender, Driver { connection: Box::pin(connection), ended: false }))
}

/// A refusal in readable form: status, slug and detail, then each violation on a line of its own.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some(slug) = problem["type"].as_str().and_then(|slug| slug.strip_prefix("urn:relay:problem:")) else {
        return format!("status {status}; is this a relay's public listener?");
    };
    let detail = if problem["detail"].is_string() { &problem["detail"] } else { &problem["title"] };
    let mut told = format!("{} {slug}: {}", status.as_u16(), text(detail));
    for violation in problem["errors"].as_array().into_iter().flatten() {
        let pointer = text(&violation["pointer"]);
        let place = if pointer.is_empty() { "the whole payload".to_owned() } else { format!("`{pointer}`") };
        told += &format!("\n  {place} ({}): {}", text(&violation["keyword"]), text(&violation["detail"]));
    }
    told
}
