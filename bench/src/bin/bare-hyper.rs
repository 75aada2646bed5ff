//! The floor of a publish: a bare hyper server that reads the body of every request and answers 200.

#![expect(clippy::disallowed_methods, reason = "a floor, no server: its tasks end with the process")]

use std::convert::Infallible;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    // If the publisher has gone, the answer goes nowhere.
    let _ = request.into_body().collect().await;
    Ok(Response::new(Empty::new()))
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse::<u16>().ok()).unwrap_or(28_703);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    })
}
