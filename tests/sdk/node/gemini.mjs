// Google's SDK: each model's greeting, whole and streamed.
import { GoogleGenAI } from "@google/genai";
import { run, SYSTEM } from "./run.mjs";

await run((baseUrl, apiKey) => {
  const sdk = new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });
  const asked = (model, contents) => ({ model, contents, config: { systemInstruction: SYSTEM } });
  return {
    whole: async (model, prompt) => (await sdk.models.generateContent(asked(model, prompt))).text,
    stream: async (model, prompt) => {
      let text = "";
      for await (const chunk of await sdk.models.generateContentStream(asked(model, prompt))) text += chunk.text ?? "";
      return text;
    },
    failed: (error) => [
      error.constructor.name,
      error.status,
      JSON.parse(error.message).error.details[0].reason.toLowerCase(),
    ],
  };
});
