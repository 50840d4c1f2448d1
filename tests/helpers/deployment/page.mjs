// A browser's part in the README's snippet: a picture of one colour, and a network whose logits say what it was given.
globalThis.fetch = async () => ({ json: async () => ["red", "green", "blue"] });
globalThis.OffscreenCanvas = class {
  constructor(width, height) {
    this.size = width * height;
  }
  getContext() {
    const size = this.size;
    let colour;
    return {
      drawImage: (picture) => (colour = picture),
      getImageData: () => ({ data: Uint8ClampedArray.from({ length: 4 * size }, (_, i) => [...colour, 255][i % 4]) }),
    };
  }
};
const { classify } = await import("./snippet.mjs");
for (const colour of [[200, 9, 9], [9, 200, 9], [9, 9, 200]]) console.log(await classify(colour, 4));
