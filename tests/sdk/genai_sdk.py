"""Google's official Gen AI SDK for Python."""

from google import genai
from google.genai import errors, types
from smoke import GATEWAY, KEY, WRONG_KEY, check, check_failover, equal, fail_once, provider_text, raises, tight_key

MODEL = "gemini-2.5-flash"
EMBEDS = "gemini-embedding-001"
TEXT = provider_text()
ONCE = types.HttpRetryOptions(attempts=1)


def client(base="", key=KEY, **options):
    http = types.HttpOptions(base_url=GATEWAY + base, timeout=30_000, retry_options=ONCE, **options)
    return genai.Client(api_key=key, vertexai=False, http_options=http)


def check_base(base, **options):
    sdk = client(base, **options)

    def generate_content():
        answer = sdk.models.generate_content(model=MODEL, contents="hi")
        equal((answer.text, answer.usage_metadata.prompt_token_count), (TEXT, 42))

    def generate_content_stream():
        parts = list(sdk.models.generate_content_stream(model=MODEL, contents="hi"))
        equal("".join(part.text or "" for part in parts), TEXT)

    def count_tokens():
        equal(sdk.models.count_tokens(model=MODEL, contents="hi").total_tokens, 42)

    def embed_content():
        # However few, they go up as a batch.
        for model in (EMBEDS, "my-embeds"):
            several = sdk.models.embed_content(model=model, contents=["a", "b"])
            equal([len(embedding.values) for embedding in several.embeddings], [4, 4])
            equal(len(sdk.models.embed_content(model=model, contents="a").embeddings), 1)

    def models():
        assert f"models/{MODEL}" in [model.name for model in sdk.models.list()]
        equal(sdk.models.get(model=MODEL).name, f"models/{MODEL}")

    version = options.get("api_version", "default version")
    for what in (generate_content, generate_content_stream, count_tokens, embed_content, models):
        check(f"python google-genai '{base}' {version} {what.__name__.replace('_', ' ')}", what)


def wrong_key():
    sdk = client(key=WRONG_KEY)
    error = raises(errors.ClientError, lambda: sdk.models.generate_content(model=MODEL, contents="hi"))
    equal((error.code, error.status), (401, "UNAUTHENTICATED"))
    equal(error.details["error"]["details"][0]["reason"], "invalid_api_key")


def unknown_model():
    sdk = client()
    error = raises(errors.ClientError, lambda: sdk.models.generate_content(model="nobody-serves-this", contents="hi"))
    equal((error.code, error.status), (404, "NOT_FOUND"))


def exhausted_rate():
    sdk = client(key=tight_key("python-google"))
    sdk.models.generate_content(model=MODEL, contents="hi")
    error = raises(errors.ClientError, lambda: sdk.models.generate_content(model=MODEL, contents="hi"))
    equal((error.code, error.status), (429, "RESOURCE_EXHAUSTED"))
    assert int(error.response.headers["retry-after"]) > 0


def failover():
    fail_once("gemini")
    sdk = client()
    answer = sdk.models.generate_content(model=MODEL, contents="hi")
    headers = {name.lower(): value for name, value in answer.sdk_http_response.headers.items()}
    check_failover(headers["x-request-id"], "gemini")


check_base("")
check_base("/")
check_base("/gemini")
check_base("", api_version="v1beta")
for what in (wrong_key, unknown_model, exhausted_rate, failover):
    check(f"python google-genai {what.__name__.replace('_', ' ')}", what)
