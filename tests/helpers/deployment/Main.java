import android.graphics.Bitmap;

/** Prints what the snippet makes of a picture whose pixels are 255, 127 and 51. */
final class Main {
    public static void main(String[] arguments) throws Exception {
        try (Classifier classifier = new Classifier(new byte[0], 4)) {
            for (float value : classifier.logits(new Bitmap(0xffff7f33))) System.out.printf("%.3f%n", value);
        }
    }
}
