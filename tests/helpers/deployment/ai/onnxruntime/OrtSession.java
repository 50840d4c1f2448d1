package ai.onnxruntime;

import java.util.Map;

/** Answers with the first, the middle and the last value of its input: which colours they are, a test can tell. */
public class OrtSession implements AutoCloseable {
    public static class SessionOptions {
        public void setIntraOpNumThreads(int threads) throws OrtException {}
    }

    public static class Result implements AutoCloseable {
        private final float[][] logits;

        Result(float[][] logits) {
            this.logits = logits;
        }

        public OnnxValue get(int index) {
            return new OnnxValue() {
                @Override
                public Object getValue() {
                    return logits;
                }

                @Override
                public void close() {}
            };
        }

        @Override
        public void close() {}
    }

    public Result run(Map<String, OnnxTensor> inputs) throws OrtException {
        OnnxTensor image = inputs.get("image");
        int count = (int) (image.shape[1] * image.shape[2] * image.shape[3]);
        if (image.pixels.remaining() != count) throw new OrtException("the buffer was not rewound");
        return new Result(new float[][] {{image.pixels.get(0), image.pixels.get(count / 2), image.pixels.get(count - 1)}});
    }

    @Override
    public void close() throws OrtException {}
}
