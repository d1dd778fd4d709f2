// Runs one SDK for tests/sdk/test_node.py: `node SDK.mjs URL KEY MODEL…` prints what it was answered, as JSON.
export const SYSTEM = "You are terse.";

export async function run(client) {
  const [url, key, ...models] = process.argv.slice(2);
  const { whole, stream, failed } = client(url, key);
  const said = {};
  for (const model of models) said[model] = [await whole(model, "Hello you"), await stream(model, "Hello you")];
  try {
    await whole("nothing", "Hello you");
  } catch (error) {
    said.nothing = failed(error);
  }
  console.log(JSON.stringify(said));
}
