// Anthropic's SDK: each model's greeting, whole and streamed.
import Anthropic from "@anthropic-ai/sdk";
import { run, SYSTEM } from "./run.mjs";

await run((baseURL, apiKey) => {
  const sdk = new Anthropic({ baseURL, apiKey, maxRetries: 0 });
  const asked = (model, prompt) => ({
    model,
    max_tokens: 500,
    system: SYSTEM,
    messages: [{ role: "user", content: prompt }],
  });
  return {
    whole: async (model, prompt) => (await sdk.messages.create(asked(model, prompt))).content[0].text,
    stream: async (model, prompt) => sdk.messages.stream(asked(model, prompt)).finalText(),
    failed: (error) => [error.constructor.name, error.status, error.error?.error?.details?.error_code],
  };
});
