// The part of onnxruntime-web that the README uses; the logits are the first values of the three channels.
export class Tensor {
  constructor(type, data, dims) {
    if (type !== "float32" || data.length !== dims.reduce((a, b) => a * b)) throw new Error("not an image");
    this.data = data;
    this.dims = dims;
  }
}
export const InferenceSession = {
  create: async () => ({
    run: async ({ image }) => {
      const [, channels, height, width] = image.dims;
      const firsts = Array.from({ length: channels }, (_, channel) => image.data[channel * height * width]);
      return { logits: new Tensor("float32", Float32Array.from(firsts), [1, channels]) };
    },
  }),
};
