package ai.onnxruntime;

import java.nio.FloatBuffer;

/** Remembers its values; the README's snippet is compiled and run against it. */
public class OnnxTensor implements OnnxValue {
    public final FloatBuffer pixels;
    public final long[] shape;

    private OnnxTensor(FloatBuffer pixels, long[] shape) {
        this.pixels = pixels;
        this.shape = shape;
    }

    public static OnnxTensor createTensor(OrtEnvironment env, FloatBuffer data, long[] shape) throws OrtException {
        return new OnnxTensor(data, shape);
    }

    @Override
    public Object getValue() throws OrtException {
        throw new OrtException("an input");
    }

    @Override
    public void close() {}
}
