// OpenAI's SDK, chat completions: each model's greeting, whole and streamed.
import OpenAI from "openai";
import { run, SYSTEM } from "./run.mjs";

await run((url, apiKey) => {
  const sdk = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
  const asked = (model, prompt) => ({
    model,
    messages: [{ role: "system", content: SYSTEM }, { role: "user", content: prompt }],
  });
  return {
    whole: async (model, prompt) => (await sdk.chat.completions.create(asked(model, prompt))).choices[0].message.content,
    stream: async (model, prompt) => {
      let text = "";
      for await (const chunk of await sdk.chat.completions.create({ ...asked(model, prompt), stream: true }))
        text += chunk.choices[0]?.delta.content ?? "";
      return text;
    },
    failed: (error) => [error.constructor.name, error.status, error.code],
  };
});
