//! Sends requests through `wasi:http`. Waits for the head of the response and ignores its body.

use std::time::{Duration, Instant};

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use wasip2::io::poll::{Pollable, poll};

use super::{Answer, Post, PostError, Target};

/// The most bytes of one write.
const PIECE: usize = 4096;

pub(crate) struct Sender;

impl Post for Sender {
    fn post(
        &mut self,
        target: &Target,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Answer, PostError> {
        let deadline = Instant::now() + timeout;
        let request = request(target, headers, body.len())?;
        let outgoing = request.body().map_err(|()| unusable("body"))?;
        let options = RequestOptions::new();
        let nanoseconds = u64::try_from(timeout.as_nanos()).ok();
        options.set_connect_timeout(nanoseconds).map_err(|()| unusable("time-out"))?;
        options.set_first_byte_timeout(nanoseconds).map_err(|()| unusable("time-out"))?;
        let response = handle(request, Some(options)).map_err(|code| post_error(&code))?;
        write(&outgoing, body, deadline)?;
        // An error of the body also shows in the response, with more detail.
        let _ = OutgoingBody::finish(outgoing, None);
        let response = wait(&response, deadline)?;
        let location = response.headers().get("location").into_iter().next();
        let location = location.and_then(|value| String::from_utf8(value).ok());
        Ok(Answer { status: response.status(), location })
    }
}

fn request(target: &Target, headers: &[(&str, &str)], length: usize) -> Result<OutgoingRequest, PostError> {
    let own = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    let length = ("content-length".to_owned(), length.to_string().into_bytes());
    let fields: Vec<_> = own.chain([length]).collect();
    let fields = Fields::from_list(&fields).map_err(|error| PostError::Unreachable(format!("headers: {error:?}")))?;
    let request = OutgoingRequest::new(fields);
    let scheme = if target.plain { Scheme::Http } else { Scheme::Https };
    request.set_method(&Method::Post).map_err(|()| unusable("method"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| unusable("scheme"))?;
    request.set_authority(Some(&target.authority)).map_err(|()| unusable("host"))?;
    request.set_path_with_query(Some(&target.path)).map_err(|()| unusable("path"))?;
    Ok(request)
}

/// Writes the body as fast as the stream accepts it. A stream that closes early is not an error here: the response
/// gives the reason.
fn write(outgoing: &OutgoingBody, mut body: &[u8], deadline: Instant) -> Result<(), PostError> {
    let stream = outgoing.write().map_err(|()| unusable("body"))?;
    while !body.is_empty() {
        let Ok(room) = stream.check_write() else { return Ok(()) };
        let room = usize::try_from(room).unwrap_or(PIECE).min(PIECE).min(body.len());
        if room == 0 {
            pause(&stream.subscribe(), deadline)?;
            continue;
        }
        let (piece, rest) = body.split_at(room);
        if stream.write(piece).is_err() {
            return Ok(());
        }
        body = rest;
    }
    Ok(())
}

fn wait(response: &FutureIncomingResponse, deadline: Instant) -> Result<IncomingResponse, PostError> {
    loop {
        match response.get() {
            Some(Ok(Ok(response))) => return Ok(response),
            Some(Ok(Err(code))) => return Err(post_error(&code)),
            Some(Err(())) => return Err(unusable("response")),
            None => pause(&response.subscribe(), deadline)?,
        }
    }
}

/// Waits until `ready` is ready.
///
/// # Errors
///
/// Returns an error when the deadline passes first.
fn pause(ready: &Pollable, deadline: Instant) -> Result<(), PostError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let over = subscribe_duration(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
    if poll(&[ready, &over]).contains(&0) {
        return Ok(());
    }
    Err(PostError::Unreachable("no answer in time".to_owned()))
}

fn post_error(code: &ErrorCode) -> PostError {
    match code {
        ErrorCode::HttpRequestDenied => PostError::NotGranted,
        code => PostError::Unreachable(format!("{code:?}")),
    }
}

fn unusable(what: &str) -> PostError {
    PostError::Unreachable(format!("the {what} of the request cannot be used"))
}
