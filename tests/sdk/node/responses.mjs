// OpenAI's SDK, responses: each model's greeting, whole and streamed.
import OpenAI from "openai";
import { run, SYSTEM } from "./run.mjs";

await run((url, apiKey) => {
  const sdk = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
  const asked = (model, input) => ({ model, input, instructions: SYSTEM });
  return {
    whole: async (model, prompt) => (await sdk.responses.create(asked(model, prompt))).output_text,
    stream: async (model, prompt) => {
      const stream = sdk.responses.stream(asked(model, prompt));
      let text = "";
      stream.on("response.output_text.delta", (event) => (text += event.delta));
      const final = await stream.finalResponse();
      if (final.output_text !== text) throw new Error("its end is not what it streamed");
      return text;
    },
    failed: (error) => [error.constructor.name, error.status, error.code],
  };
});
