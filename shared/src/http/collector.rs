//! The same client under the exporter of traces, so that a function has no second HTTP stack.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use aws_smithy_runtime_api::client::{http::HttpConnectorSettings, orchestrator::HttpRequest};
use aws_smithy_types::{body::SdkBody, error::display::DisplayErrorContext};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use super::{Connector, Pool};
use crate::Clock;

/// A client with its own pool, for the requests to a collector. Clones share the pool. The caller limits the time of a request.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    connector: Connector,
    /// The credentials of the function, for the endpoint of CloudWatch.
    credentials: Option<Credentials>,
    /// The error of the last request. The exporter reports only that there was one.
    error: Arc<Mutex<Option<String>>>,
}

impl Collector {
    /// Creates a client that trusts the authorities in `bundle`, or those of this machine. It signs requests to the OTLP endpoint of
    /// CloudWatch with `credentials`.
    pub(crate) fn new(bundle: Option<PathBuf>, credentials: Option<Credentials>) -> Self {
        let pool = Arc::new(Pool { bundle, ..Pool::default() });
        let connector = Connector { pool, settings: HttpConnectorSettings::default(), requests: None };
        Self { connector, credentials, error: Arc::default() }
    }

    /// Takes the error of the last request.
    pub(crate) fn take_error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        if let Some((region, credentials)) = region(&request).zip(self.credentials.as_ref()) {
            request = signed(request, &region, credentials, Clock::system().now().into())?;
        }
        let request = HttpRequest::try_from(request.map(SdkBody::from))?;
        let response = self.connector.send(request).await?.try_into_http1x()?;
        Ok(response.map(|body| body.bytes().map(Bytes::copy_from_slice).unwrap_or_default()))
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = self.send(request).await;
            let error = answer.as_ref().err().map(|error| DisplayErrorContext(&**error).to_string());
            *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
            answer
        })
    }
}

/// Returns the region if a request must be signed: it is for the OTLP endpoint of CloudWatch, `https://xray.<region>.amazonaws.com/v1/traces`,
/// and has no token of the operator.
///
/// Source: "OTLP endpoints" in the user guide of CloudWatch.
fn region(request: &Request<Bytes>) -> Option<String> {
    let rest = request.uri().host()?.strip_prefix("xray.")?;
    let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    let is_endpoint = request.uri().scheme_str() == Some("https") && !region.contains('.');
    (is_endpoint && !request.headers().contains_key("authorization")).then(|| region.to_owned())
}

/// Signs a request with Signature Version 4.
fn signed(mut request: Request<Bytes>, region: &str, credentials: &Credentials, now: SystemTime) -> Result<Request<Bytes>, HttpError> {
    let identity = credentials.clone().into();
    let params = SigningParams::builder().identity(&identity).region(region).name("xray").time(now);
    let params = params.settings(SigningSettings::default()).build()?.into();
    let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let (method, uri) = (request.method().as_str(), request.uri().to_string());
    let signable = SignableRequest::new(method, uri, headers, SignableBody::Bytes(request.body()))?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(uri: &str) -> Request<Bytes> {
        let request = Request::post(uri).header("content-type", "application/x-protobuf");
        request.body(Bytes::from_static(b"spans")).expect("a request")
    }

    #[test]
    fn a_request_to_cloudwatch_is_signed_as_botocore_signs_it() {
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI", Some("token".into()), None, "test");
        let request = request("https://xray.us-east-1.amazonaws.com/v1/traces");
        assert_eq!(region(&request).as_deref(), Some("us-east-1"));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045); // 2026-01-02T03:04:05Z
        let signed = signed(request, "us-east-1", &credentials, at).expect("it can be signed");
        assert_eq!(signed.headers()["x-amz-date"], "20260102T030405Z");
        assert_eq!(signed.headers()["x-amz-security-token"], "token");
        // By botocore 1.43.106.
        let expected = concat!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/xray/aws4_request, ",
            "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ",
            "Signature=8a01f0d7bda9056dcb9e7e13d3f9f4c8baaa99c20575b3b7906a7572f6c94128"
        );
        assert_eq!(signed.headers()["authorization"], expected);
    }

    #[test]
    fn a_request_to_another_collector_is_not_signed() {
        for uri in [
            "http://localhost:4318/v1/traces",
            "https://xray.example.com/v1/traces",
            "https://xray.us-east-1.amazonaws.com.evil.example",
            "https://xray.a.s3.amazonaws.com/v1/traces",
            "http://xray.us-east-1.amazonaws.com/v1/traces",
        ] {
            assert_eq!(region(&request(uri)), None, "{uri}");
        }
        let mut with_token = request("https://xray.us-east-1.amazonaws.com/v1/traces");
        with_token.headers_mut().insert("authorization", "Bearer token".parse().expect("a value"));
        assert_eq!(region(&with_token), None);
    }
}
