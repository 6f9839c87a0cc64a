"""The official SDKs for Python as judges of translation: every expected answer and stream of the cases in
tests/fixtures/translate is parsed with the SDK's own types, strictly, and every expected request is held against the
types of its parameters.

Part of `tests/sdk/run`; alone: `target/sdk/python-*/bin/python tests/sdk/translate_judge.py`."""

import json
import pathlib
import sys
import typing

import httpx2 as httpx
import pydantic
from anthropic import Anthropic
from anthropic.types import Message, RawMessageStreamEvent, message_create_params
from google.genai import types as genai
from openai import ContentFilterFinishReasonError, LengthFinishReasonError, OpenAI
from openai.types.chat import ChatCompletion, completion_create_params
from openai.types.responses import Response, ResponseStreamEvent, response_create_params

CASES = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "translate"
WORDS = ("chat", "responses", "anthropic", "gemini")
# The SDK has no type for free text in pieces, which the API sends all the same.
UNTYPED = ("responses/free_text/stream.chat.sse",)


def validated(kind, value):
    return pydantic.TypeAdapter(kind).validate_python(value)


def gemini_answer(value):
    if "error" not in value:
        genai.GenerateContentResponse.model_validate(value)
    for candidate in value.get("candidates", []):
        for part in candidate["content"]["parts"]:
            genai.Part.model_validate(part)
            assert len(set(part) - {"thought", "thoughtSignature"}) == 1, part


def gemini_request(value):
    known = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "labels", "serviceTier"}
    assert set(value) <= known, set(value) - known
    for content in value["contents"]:
        genai.Content.model_validate(content)
        assert content["role"] in ("user", "model") and content["parts"], content
    genai.GenerationConfig.model_validate(value.get("generationConfig", {}))
    genai.ToolConfig.model_validate(value.get("toolConfig", {}))
    for tool in value.get("tools", []):
        genai.Tool.model_validate(tool)
        assert set(tool) in ({"functionDeclarations"}, {"googleSearch"}), tool
        for function in tool.get("functionDeclarations", []):
            schema(function.get("parameters"))


def schema(value):
    if value is not None:
        genai.Schema.model_validate({**value, "type": value["type"].upper()} if "type" in value else value)
        for inner in [*value.get("properties", {}).values(), *value.get("anyOf", []), *filter(None, [value.get("items")])]:
            schema(inner)


def turns_alternate(value):
    roles = [turn["role"] for turn in value.get("messages", value.get("contents", []))]
    assert all(a != b for a, b in zip(roles, roles[1:])), roles


def anthropic_request(value):
    validated(message_create_params.MessageCreateParamsStreaming if value.get("stream") else
              message_create_params.MessageCreateParamsNonStreaming, value)
    turns_alternate(value)
    open_calls = []
    for message in value["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert sorted(answered) == sorted(open_calls), (answered, open_calls)
        open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert all(block.get("text", "x").strip() for block in blocks), blocks


def chat_request(value):
    validated(completion_create_params.CompletionCreateParamsStreaming if value.get("stream") else
              completion_create_params.CompletionCreateParamsNonStreaming, value)
    waiting = set()
    for message in value["messages"]:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting, waiting
        waiting = {call["id"] for call in message.get("tool_calls", [])}


def responses_request(value):
    validated(response_create_params.ResponseCreateParamsStreaming if value.get("stream") else
              response_create_params.ResponseCreateParamsNonStreaming, value)
    called = [item["call_id"] for item in value["input"] if item["type"] in ("function_call", "custom_tool_call")]
    answered = [item["call_id"] for item in value["input"] if item["type"].endswith("_output")]
    assert sorted(called) == sorted(answered), (called, answered)


def through(make, body, kind):
    """An SDK's client with the bytes of an answer in the place of the network."""
    sent = lambda request: httpx.Response(200, content=body, headers={"content-type": kind})
    return make(httpx.Client(transport=httpx.MockTransport(sent)))


def openai(http):
    return OpenAI(api_key="x", http_client=http, max_retries=0, _strict_response_validation=True)


def anthropic(http):
    return Anthropic(api_key="x", http_client=http, max_retries=0, _strict_response_validation=True)


JSON, SSE = "application/json", "text/event-stream"


def chat_stream(body):
    ask = {"model": "x", "messages": []}
    ids = {chunk.id for chunk in through(openai, body, SSE).chat.completions.create(**ask, stream=True)}
    assert len(ids) == 1, ids
    try:
        with through(openai, body, SSE).chat.completions.stream(**ask) as stream:
            for _ in stream:
                pass
            stream.get_final_completion()
    except (LengthFinishReasonError, ContentFilterFinishReasonError):
        pass  # the SDK's own word for a reason to finish that was understood


def responses_stream(body):
    sdk = through(openai, body, SSE)
    kinds = typing.get_args(typing.get_args(ResponseStreamEvent)[0])
    with sdk.responses.stream(model="x", input="x") as stream:
        for event in stream:
            assert any(event.type in typing.get_args(kind.model_fields["type"].annotation) for kind in kinds), event
    sequence = [json.loads(line[6:])["sequence_number"] for line in body.decode().split("\n") if line.startswith("data: ")]
    assert sequence == list(range(len(sequence))), sequence
    events = through(openai, body, SSE).responses.create(model="x", input="x", stream=True)
    for event in events:
        if hasattr(event, "response"):
            validated(Response, event.response.model_dump(by_alias=True, exclude_unset=True))


def anthropic_stream(body):
    sdk = through(anthropic, body, SSE)
    with sdk.messages.stream(model="x", max_tokens=1, messages=[]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_message()
    validated(Message, message.model_dump(by_alias=True, exclude_unset=True, exclude={"parsed_output"}))
    blocks, expected = [], 0
    for line in body.decode().split("\n"):
        if line.startswith("data: "):
            event = json.loads(line[6:])
            if event["type"] != "error":
                validated(RawMessageStreamEvent, event)
            if event["type"] == "content_block_start":
                assert event["index"] == expected and not blocks, event
                blocks.append(expected)
            if event["type"] == "content_block_delta":
                assert [event["index"]] == blocks, event
            if event["type"] == "content_block_stop":
                assert [event["index"]] == blocks, event
                blocks.clear()
                expected += 1


def gemini_stream(body):
    for line in body.decode().split("\n"):
        if line.startswith("data: "):
            gemini_answer(json.loads(line[6:]))


ANSWERS = {
    "chat": lambda body: validated(ChatCompletion, through(openai, body, JSON).chat.completions.create(model="x", messages=[]).model_dump()),
    "responses": lambda body: through(openai, body, JSON).responses.create(model="x", input="x"),
    "anthropic": lambda body: through(anthropic, body, JSON).messages.create(model="x", max_tokens=1, messages=[]),
    "gemini": lambda body: gemini_answer(json.loads(body)),
}
REQUESTS = {"chat": chat_request, "responses": responses_request, "anthropic": anthropic_request, "gemini": gemini_request}
STREAMS = {"chat": chat_stream, "responses": responses_stream, "anthropic": anthropic_stream, "gemini": gemini_stream}


def judge(path):
    """The kind of what was judged; `None` where there is nothing to judge."""
    kind, word = path.name.split(".")[:2]
    if word not in WORDS or kind == "asked" or str(path.relative_to(CASES)) in UNTYPED:
        return None
    text = path.read_text()
    if text.startswith("// refused"):
        return None
    ending = text.rsplit("// ", 1)[-1].strip()
    body = "\n".join(line for line in text.split("\n") if not line.startswith("// "))
    if kind == "request":
        REQUESTS[word](json.loads(body))
    elif kind == "response" and "// status" not in text:
        ANSWERS[word](body.encode())
    elif kind == "stream" and ending == "Whole":
        STREAMS[word](body.encode())
    else:
        return None
    return kind


def main():
    judged, wrong = {}, 0
    for path in sorted(CASES.glob("*/*/*")):
        try:
            kind = judge(path)
            judged[kind] = judged.get(kind, 0) + 1
        except Exception as problem:  # whatever an SDK raises is its judgement
            wrong += 1
            said = " ".join(str(problem).split())[:600]
            print(f"FAILED translated {path.relative_to(CASES)}: {type(problem).__name__}: {said}", flush=True)
    for kind in ("request", "response", "stream"):
        assert judged[kind] >= 100, judged
        print(f"ok translated: {judged[kind]} of kind {kind} are what the SDKs' types say")
    return 1 if wrong else 0


sys.exit(main())
