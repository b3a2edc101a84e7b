//! Requests by `wasi:http`. Waits for the answer's head; its body is nobody's business here.

use std::time::{Duration, Instant};

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use wasip2::io::poll::{Pollable, poll};

use super::{Answer, Post, Target, Trouble};

/// Bytes that are written at once.
const PIECE: usize = 4096;

pub(crate) struct Sender;

impl Post for Sender {
    fn post(
        &mut self,
        target: &Target,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Answer, Trouble> {
        let deadline = Instant::now() + timeout;
        let request = request(target, headers, body.len())?;
        let outgoing = request.body().map_err(|()| unusable("body"))?;
        let options = RequestOptions::new();
        let nanoseconds = u64::try_from(timeout.as_nanos()).ok();
        options.set_connect_timeout(nanoseconds).map_err(|()| unusable("time-out"))?;
        options.set_first_byte_timeout(nanoseconds).map_err(|()| unusable("time-out"))?;
        let response = handle(request, Some(options)).map_err(|code| trouble(&code))?;
        write(&outgoing, body, deadline)?;
        // What is wrong with the body shows in the response as well, and better.
        let _ = OutgoingBody::finish(outgoing, None);
        let response = wait(&response, deadline)?;
        let location = response.headers().get("location").into_iter().next();
        let location = location.and_then(|value| String::from_utf8(value).ok());
        Ok(Answer { status: response.status(), location })
    }
}

fn request(target: &Target, headers: &[(&str, &str)], length: usize) -> Result<OutgoingRequest, Trouble> {
    let own = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    let length = ("content-length".to_owned(), length.to_string().into_bytes());
    let fields: Vec<_> = own.chain([length]).collect();
    let fields = Fields::from_list(&fields).map_err(|error| Trouble::Unreachable(format!("headers: {error:?}")))?;
    let request = OutgoingRequest::new(fields);
    let scheme = if target.plain { Scheme::Http } else { Scheme::Https };
    request.set_method(&Method::Post).map_err(|()| unusable("method"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| unusable("scheme"))?;
    request.set_authority(Some(&target.authority)).map_err(|()| unusable("host"))?;
    request.set_path_with_query(Some(&target.path)).map_err(|()| unusable("path"))?;
    Ok(request)
}

/// Writes the body as fast as it is taken. A stream that closes early is no trouble of its own: the response says why.
fn write(outgoing: &OutgoingBody, mut body: &[u8], deadline: Instant) -> Result<(), Trouble> {
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

fn wait(response: &FutureIncomingResponse, deadline: Instant) -> Result<IncomingResponse, Trouble> {
    loop {
        match response.get() {
            Some(Ok(Ok(response))) => return Ok(response),
            Some(Ok(Err(code))) => return Err(trouble(&code)),
            Some(Err(())) => return Err(unusable("response")),
            None => pause(&response.subscribe(), deadline)?,
        }
    }
}

/// Waits until something is ready.
fn pause(ready: &Pollable, deadline: Instant) -> Result<(), Trouble> {
    let left = deadline.saturating_duration_since(Instant::now());
    let over = subscribe_duration(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
    if poll(&[ready, &over]).contains(&0) {
        return Ok(());
    }
    Err(Trouble::Unreachable("no answer in time".to_owned()))
}

fn trouble(code: &ErrorCode) -> Trouble {
    match code {
        ErrorCode::HttpRequestDenied => Trouble::NotGranted,
        code => Trouble::Unreachable(format!("{code:?}")),
    }
}

fn unusable(what: &str) -> Trouble {
    Trouble::Unreachable(format!("the {what} of the request cannot be used"))
}
