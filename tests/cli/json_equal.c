/* json_equal A B: exit 0 when two JSON files are equal, by jansson's own idea of equality.  With
 * --export A B: A is what weft export printed, B a JSON array or JSON lines of documents named by
 * member `id` or `name`: every document of B must be in A with an equal value, and nothing else. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Reads an array, or lines, into one array. */
static json_t *read_all(const char *path) {
  json_error_t why;
  json_t *whole = json_load_file(path, JSON_DECODE_ANY, &why);
  if (json_is_array(whole)) return whole;
  json_decref(whole);
  FILE *file = fopen(path, "r");
  if (!file) return NULL;
  json_t *list = json_array();
  for (json_t *item; (item = json_loadf(file, JSON_DISABLE_EOF_CHECK, &why));)
    json_array_append_new(list, item);
  fclose(file);
  return list;
}

static int compare_export(const char *exported, const char *source) {
  json_t *a = read_all(exported), *b = read_all(source), *by_name = json_object(), *item;
  size_t i, missing = 0;
  if (!a || !b) return 2;
  json_array_foreach(a, i, item) {
    const char *doc = json_string_value(json_object_get(item, "doc"));
    const char *slash = doc ? strchr(doc, '/') : NULL;
    if (slash) json_object_set(by_name, slash + 1, json_object_get(item, "value"));
  }
  json_array_foreach(b, i, item) {
    const char *name = json_string_value(json_object_get(item, "id"));
    if (!name) name = json_string_value(json_object_get(item, "name"));
    if (!name || !json_equal(json_object_get(by_name, name), item)) {
      printf("differs: %s\n", name ? name : "(no name)");
      missing++;
    }
  }
  int same = missing == 0 && json_object_size(by_name) == json_array_size(b);
  printf("%zu documents compared\n", json_array_size(b));
  json_decref(a);
  json_decref(b);
  json_decref(by_name);
  return same ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "--export") == 0) return compare_export(argv[2], argv[3]);
  if (argc != 3) return 2;
  json_t *a = read_all(argv[1]), *b = read_all(argv[2]);
  int same = a && b && json_equal(a, b);
  json_decref(a);
  json_decref(b);
  return same ? 0 : 1;
}
