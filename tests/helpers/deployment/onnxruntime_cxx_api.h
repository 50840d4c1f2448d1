// The part of ONNX Runtime's C++ interface that the README uses, by its signatures alone: for machines without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#define ORTCHAR_T char
enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };

namespace Ort {
struct Env {
    Env(OrtLoggingLevel level, const char* name);
    Env(const Env&) = delete;
};
struct RunOptions {
    explicit RunOptions(std::nullptr_t);
};
struct SessionOptions {
    SessionOptions();
    SessionOptions& SetIntraOpNumThreads(int threads);
    SessionOptions& AddConfigEntry(const char* key, const char* value);
};
struct MemoryInfo {
    static MemoryInfo CreateCpu(OrtAllocatorType allocator, OrtMemType type);
};
struct TensorTypeAndShapeInfo {
    size_t GetElementCount() const;
};
struct Value {
    template <typename T>
    static Value CreateTensor(const MemoryInfo& memory, T* data, size_t count, const int64_t* shape, size_t rank);
    template <typename T>
    const T* GetTensorData() const;
    TensorTypeAndShapeInfo GetTensorTypeAndShapeInfo() const;
};
struct Session {
    explicit Session(std::nullptr_t);
    Session(const Env& environment, const ORTCHAR_T* path, const SessionOptions& options);
    Session(const Session&) = delete;
    Session(Session&&) = default;
    Session& operator=(Session&&) = default;
    std::vector<Value> Run(const RunOptions& options, const char* const* input_names, const Value* inputs,
                           size_t input_count, const char* const* output_names, size_t output_count);
};
}  // namespace Ort
