// Warm column files of TickVault, mapped read-only: C++17, POSIX, no dependency.
//
//   tickvault::ColumnFile file("2023-12-26.warm");     // throws tickvault::Error if it is no sound warm file
//   file.verify();                                     // optional: every page against its checksum
//   auto price = file.column<std::int64_t>("price");   // a view of the mapped bytes
//   for (std::size_t row = 0; row < price.size(); ++row) sum += price[row];
//
// The layout is drawn in docs/formats/column-file.md.  Nothing is taken from the file before it was compared with the
// file's size; views live as long as the ColumnFile.  A file must not change while it is mapped.

#ifndef TICKVAULT_COLUMN_HPP
#define TICKVAULT_COLUMN_HPP

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tickvault/column.hpp needs a little-endian machine"
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define TICKVAULT_HAS_SSE42 1
#include <nmmintrin.h>
#endif

namespace tickvault {

// Nulls, by kind of column; of ids and plain integers it is the largest of the type.
inline constexpr std::int64_t time_null = std::numeric_limits<std::int64_t>::min();
inline constexpr std::int64_t price_null = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t size_null = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int32_t code_null = -1;

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Kind : std::uint8_t { time = 1, price, size, turnover, code, character, flags, id, integer };

namespace detail {

inline std::uint32_t crc32c_by_table(const unsigned char* data, std::size_t size) {
  static const auto table = [] {
    std::array<std::array<std::uint32_t, 256>, 8> made{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t crc = byte;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78u : 0u);
      made[0][byte] = crc;
    }
    for (std::uint32_t byte = 0; byte < 256; ++byte)
      for (std::size_t slice = 1; slice < 8; ++slice)
        made[slice][byte] = (made[slice - 1][byte] >> 8) ^ made[0][made[slice - 1][byte] & 0xFF];
    return made;
  }();
  std::uint32_t crc = ~0u;
  for (; size >= 8; data += 8, size -= 8) {
    std::uint64_t word;
    std::memcpy(&word, data, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t byte = 0; byte < 8; ++byte) crc ^= table[7 - byte][(word >> (8 * byte)) & 0xFF];
  }
  for (; size; ++data, --size) crc = (crc >> 8) ^ table[0][(crc ^ *data) & 0xFF];
  return ~crc;
}

#ifdef TICKVAULT_HAS_SSE42
__attribute__((target("sse4.2"))) inline std::uint32_t crc32c_by_instruction(const unsigned char* data,
                                                                              std::size_t size) {
  std::uint64_t crc = 0xFFFFFFFFu;
  for (; size >= 8; data += 8, size -= 8) {
    std::uint64_t word;
    std::memcpy(&word, data, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  auto rest = static_cast<std::uint32_t>(crc);
  for (; size; ++data, --size) rest = _mm_crc32_u8(rest, *data);
  return ~rest;
}
#endif

inline std::uint32_t crc32c(const unsigned char* data, std::size_t size) {
#ifdef TICKVAULT_HAS_SSE42
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  if (has_instruction) return crc32c_by_instruction(data, size);
#endif
  return crc32c_by_table(data, size);
}

template <typename T>
T read(const unsigned char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename T>
constexpr std::string_view dtype_of() {
  static_assert(std::is_integral_v<T> && sizeof(T) <= 8, "columns are of integers");
  if constexpr (sizeof(T) == 1) return std::is_signed_v<T> ? "|i1" : "|u1";
  if constexpr (sizeof(T) == 2) return std::is_signed_v<T> ? "<i2" : "<u2";
  if constexpr (sizeof(T) == 4) return std::is_signed_v<T> ? "<i4" : "<u4";
  if constexpr (sizeof(T) == 8) return std::is_signed_v<T> ? "<i8" : "<u8";
}

}  // namespace detail

// The values of a column: mapped, or one number that all rows have.
template <typename T>
class Values {
 public:
  Values() = default;
  Values(const T* data, std::size_t size) : data_(data), size_(size) {}
  Values(T constant, std::size_t size) : constant_(constant), size_(size) {}

  std::size_t size() const { return size_; }
  bool is_constant() const { return data_ == nullptr; }
  // Of a constant column there is no array: nullptr.
  const T* data() const { return data_; }
  T operator[](std::size_t row) const { return data_ ? data_[row] : constant_; }

 private:
  const T* data_ = nullptr;
  T constant_ = 0;
  std::size_t size_ = 0;
};

// What the footer says of a column.
struct ColumnInfo {
  std::string name;
  std::string dtype;  // as numpy writes it: "<i8"
  Kind kind{};
  bool is_sorted = false;
  bool is_constant = false;
  bool has_values = false;  // not null throughout: lowest and highest say something
  bool is_hidden = false;   // part of the rows' identity, not of their content
  std::uint64_t offset = 0, length = 0, null_count = 0;
  std::uint64_t lowest = 0, highest = 0, constant = 0;  // bits; signed ones are sign-extended
  std::vector<std::string> words;                       // the dictionary of a column of codes
};

struct Run {  // rows that follow each other in their source
  std::int64_t source_id, first_ordinal, count;
};

class ColumnFile {
 public:
  static constexpr std::size_t page_size = 64 * 1024;

  explicit ColumnFile(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw Error(path + ": cannot be opened: " + std::strerror(errno));
    struct stat status{};
    if (::fstat(descriptor, &status) != 0) {
      ::close(descriptor);
      throw Error(path + ": cannot be examined");
    }
    size_ = static_cast<std::size_t>(status.st_size);
    void* mapped = size_ ? ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0) : MAP_FAILED;
    ::close(descriptor);
    if (mapped == MAP_FAILED) throw Error(path + ": cannot be mapped");
    data_ = std::shared_ptr<const unsigned char>(
        static_cast<const unsigned char*>(mapped),
        [size = size_](const unsigned char* at) { ::munmap(const_cast<unsigned char*>(at), size); });
    parse();
  }

  const std::string& schema() const { return schema_; }
  std::uint64_t row_count() const { return row_count_; }
  std::int64_t ts_first() const { return ts_first_; }
  std::int64_t ts_last() const { return ts_last_; }
  bool is_sorted() const { return is_sorted_; }  // by ts_index
  std::uint64_t size_scale() const { return size_scale_; }
  std::uint64_t turnover_scale() const { return turnover_scale_; }
  const std::vector<ColumnInfo>& columns() const { return columns_; }
  const std::vector<Run>& runs() const { return runs_; }
  std::string_view about() const { return about_; }  // msgpack

  // nullptr: the file has no such column, which is null throughout.
  const ColumnInfo* find(std::string_view name) const {
    for (const auto& info : columns_)
      if (info.name == name) return &info;
    return nullptr;
  }

  template <typename T>
  Values<T> column(std::string_view name) const {
    const ColumnInfo* info = find(name);
    if (!info) throw Error("there is no column " + std::string(name));
    if (info->dtype != detail::dtype_of<T>()) throw Error("column " + info->name + " is " + info->dtype);
    if (info->is_constant) return {static_cast<T>(info->constant), static_cast<std::size_t>(row_count_)};
    if (!row_count_) return {};
    return {reinterpret_cast<const T*>(data_.get() + info->offset), static_cast<std::size_t>(row_count_)};
  }

  // Every page of the data against its checksum.
  void verify() const {
    for (std::size_t page = 0; page * page_size < data_end_; ++page) {
      const std::size_t start = page * page_size;
      const std::size_t length = std::min<std::size_t>(page_size, data_end_ - start);
      if (detail::crc32c(data_.get() + start, length) != detail::read<std::uint32_t>(checksums_ + 4 * page))
        throw Error("page " + std::to_string(page) + " with " + told(start) + " does not match its checksum");
    }
  }

 private:
  static constexpr std::size_t header_size = 64, trailer_size = 32, head_size = 128, column_size = 96, run_size = 24;

  static void require(bool holds, const std::string& what) {
    if (!holds) throw Error("column file: " + what + "; it is cut off or damaged");
  }

  void parse() {
    const unsigned char* at = data_.get();
    require(size_ >= header_size + trailer_size, "shorter than header and trailer");
    require(!std::memcmp(at, "TVCOLMN1", 8), "the header's mark is missing");
    if (detail::read<std::uint32_t>(at + 8) != 1) throw Error("column file: of a version this header does not read");
    require(detail::read<std::uint32_t>(at + 12) == 1, "not of the warm form");
    const unsigned char* end = at + size_ - trailer_size;
    require(!std::memcmp(end + 24, "TVCOLEND", 8), "the trailer's mark is missing");
    require(detail::crc32c(end, 20) == detail::read<std::uint32_t>(end + 20), "the trailer's checksum is wrong");
    const auto offset = detail::read<std::uint64_t>(end);
    const std::uint64_t length = detail::read<std::uint32_t>(end + 8);
    require(offset >= header_size && offset <= size_ && offset + length + trailer_size == size_,
            "the trailer says another length than the file has");
    require(detail::crc32c(at + offset, length) == detail::read<std::uint32_t>(end + 16),
            "the footer's checksum is wrong");
    parse_footer(at + offset, length, offset);
  }

  void parse_footer(const unsigned char* footer, std::uint64_t length, std::uint64_t offset) {
    require(length >= head_size && !std::memcmp(footer, "TVCFOOT1", 8), "the footer's mark is missing");
    row_count_ = detail::read<std::uint64_t>(footer + 16);
    ts_first_ = detail::read<std::int64_t>(footer + 24);
    ts_last_ = detail::read<std::int64_t>(footer + 32);
    is_sorted_ = detail::read<std::uint32_t>(footer + 40) & 1;
    const std::uint64_t column_count = detail::read<std::uint32_t>(footer + 44);
    size_scale_ = detail::read<std::uint64_t>(footer + 48);
    turnover_scale_ = detail::read<std::uint64_t>(footer + 56);
    data_end_ = detail::read<std::uint64_t>(footer + 64);
    const std::uint64_t run_count = detail::read<std::uint32_t>(footer + 72);
    const std::uint64_t index_size = detail::read<std::uint32_t>(footer + 76);
    const std::uint64_t strings_size = detail::read<std::uint32_t>(footer + 80);
    const std::uint64_t words_size = detail::read<std::uint32_t>(footer + 84);
    const std::uint64_t about_size = detail::read<std::uint32_t>(footer + 88);
    const std::uint64_t schema_size = detail::read<std::uint32_t>(footer + 92);
    const std::uint64_t runs_at = head_size + column_count * column_size;
    const std::uint64_t index_at = runs_at + run_count * run_size;
    const std::uint64_t strings_at = index_at + index_size, words_at = strings_at + strings_size;
    require(words_at + words_size + about_size == length, "the footer's parts do not add up");
    require(data_end_ == offset, "the data does not end where the footer begins");
    require(index_size == (data_end_ + page_size - 1) / page_size * 4, "pages without checksums");
    checksums_ = footer + index_at;
    const std::string_view strings(reinterpret_cast<const char*>(footer + strings_at), strings_size);
    const std::string_view words(reinterpret_cast<const char*>(footer + words_at), words_size);
    about_ = {reinterpret_cast<const char*>(footer + words_at + words_size), about_size};
    schema_ = part(strings, 0, schema_size);
    for (std::uint64_t number = 0; number < column_count; ++number)
      columns_.push_back(parse_column(footer + head_size + number * column_size, strings, words));
    for (std::uint64_t number = 0; number < run_count; ++number) {
      const unsigned char* at = footer + runs_at + number * run_size;
      runs_.push_back({detail::read<std::int64_t>(at), detail::read<std::int64_t>(at + 8),
                       detail::read<std::int64_t>(at + 16)});
    }
  }

  ColumnInfo parse_column(const unsigned char* at, std::string_view strings, std::string_view words) const {
    ColumnInfo made;
    made.name = part(strings, detail::read<std::uint32_t>(at), detail::read<std::uint16_t>(at + 4));
    made.kind = static_cast<Kind>(at[6]);
    made.is_sorted = at[7] & 1;
    made.is_constant = at[7] & 2;
    made.has_values = at[7] & 4;
    made.is_hidden = at[7] & 16;
    made.dtype.assign(reinterpret_cast<const char*>(at + 8), 3);
    made.offset = detail::read<std::uint64_t>(at + 24);
    made.length = detail::read<std::uint64_t>(at + 32);
    made.null_count = detail::read<std::uint64_t>(at + 40);
    made.lowest = detail::read<std::uint64_t>(at + 48);
    made.highest = detail::read<std::uint64_t>(at + 56);
    made.constant = detail::read<std::uint64_t>(at + 64);
    const char digit = made.dtype[2];
    require(digit == '1' || digit == '2' || digit == '4' || digit == '8', "column " + made.name + " is of no type");
    if (!made.is_constant && row_count_) {
      const auto width = static_cast<std::uint64_t>(digit - '0');
      require(row_count_ <= size_ && made.length == row_count_ * width && made.offset >= header_size &&
                  made.offset % 64 == 0 && made.offset <= data_end_ && made.length <= data_end_ - made.offset,
              "column " + made.name + " does not lie within the data");
    }
    const std::uint64_t word_count = detail::read<std::uint32_t>(at + 20);
    std::uint64_t word_at = detail::read<std::uint32_t>(at + 80);
    for (std::uint64_t number = 0; number < word_count; ++number) {
      const std::string length = part(words, word_at, 4);
      const auto size = detail::read<std::uint32_t>(reinterpret_cast<const unsigned char*>(length.data()));
      made.words.push_back(part(words, word_at + 4, size));
      word_at += 4 + std::uint64_t{size};
    }
    if (made.kind == Kind::code && made.has_values)
      require(made.highest < made.words.size(), "column " + made.name + " has codes beyond its dictionary");
    return made;
  }

  static std::string part(std::string_view whole, std::uint64_t start, std::uint64_t size) {
    require(start <= whole.size() && size <= whole.size() - start, "a string lies outside the footer");
    return std::string(whole.substr(start, size));
  }

  std::string told(std::size_t start) const {
    std::string names;
    for (const auto& info : columns_)
      if (info.length && info.offset < start + page_size && info.offset + info.length > start)
        names += (names.empty() ? "column " : ", ") + info.name;
    return names.empty() ? "the header" : names;
  }

  std::shared_ptr<const unsigned char> data_;
  std::size_t size_ = 0;
  const unsigned char* checksums_ = nullptr;
  std::string schema_;
  std::string_view about_;
  std::uint64_t row_count_ = 0, size_scale_ = 1, turnover_scale_ = 1, data_end_ = 0;
  std::int64_t ts_first_ = 0, ts_last_ = 0;
  bool is_sorted_ = false;
  std::vector<ColumnInfo> columns_;
  std::vector<Run> runs_;
};

}  // namespace tickvault

#endif  // TICKVAULT_COLUMN_HPP
