package android.graphics;

/** One colour everywhere. */
public class Bitmap {
    private final int colour;

    public Bitmap(int colour) {
        this.colour = colour;
    }

    public static Bitmap createScaledBitmap(Bitmap source, int width, int height, boolean filter) {
        return source;
    }

    public void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {
        java.util.Arrays.fill(pixels, colour);
    }
}
