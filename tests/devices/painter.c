/*
 * A screen that is hardly ever touched, as PipeWire node: paints one colour a few times when somebody begins to look, and
 * nothing more, as a desktop does. When it gets SIGUSR1 it has half the size and another colour.
 *
 *     painter NAME BGRx|RGBx WIDTH HEIGHT RRGGBB RRGGBB
 */

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pipewire/pipewire.h>
#include <spa/param/video/format-utils.h>

/* Bytes behind each line, which are no part of the picture. */
#define GAP 64
/* Pictures at the beginning: the first may come before whoever looks is ready. */
#define PICTURES 3

struct painter {
	struct pw_main_loop *loop;
	struct pw_stream *stream;
	struct spa_source *timer;
	uint32_t format, width, height, colour, next_colour, left;
};

static uint32_t stride(const struct painter *painter)
{
	return painter->width * 4 + GAP;
}

static void begin(struct painter *painter)
{
	struct timespec soon = { .tv_nsec = 1000000 }, interval = { .tv_nsec = 100000000 };
	painter->left = PICTURES;
	pw_loop_update_timer(pw_main_loop_get_loop(painter->loop), painter->timer, &soon, &interval, false);
}

static void tick(void *data, uint64_t expirations)
{
	struct painter *painter = data;
	(void)expirations;
	if (painter->left == 0) {
		pw_loop_update_timer(pw_main_loop_get_loop(painter->loop), painter->timer, NULL, NULL, false);
		return;
	}
	painter->left--;
	pw_stream_trigger_process(painter->stream);
}

static void process(void *data)
{
	struct painter *painter = data;
	struct pw_buffer *buffer = pw_stream_dequeue_buffer(painter->stream);
	if (buffer == NULL)
		return;
	struct spa_data *picture = &buffer->buffer->datas[0];
	uint32_t line = stride(painter), size = line * painter->height;
	if (picture->data != NULL && picture->maxsize >= size) {
		uint8_t red = painter->colour >> 16, green = painter->colour >> 8, blue = painter->colour;
		int is_bgr = painter->format == SPA_VIDEO_FORMAT_BGRx;
		uint8_t pixel[4] = { is_bgr ? blue : red, green, is_bgr ? red : blue, 0 };
		/* What must not be seen is green. */
		memset(picture->data, 0, size);
		for (uint32_t y = 0; y < painter->height; y++) {
			uint8_t *at = (uint8_t *)picture->data + y * line;
			for (uint32_t x = 0; x < line / 4; x++, at += 4) {
				if (x < painter->width)
					memcpy(at, pixel, 4);
				else
					at[1] = 255;
			}
		}
		picture->chunk->offset = 0;
		picture->chunk->stride = line;
		picture->chunk->size = size;
	}
	pw_stream_queue_buffer(painter->stream, buffer);
}

static void state_changed(void *data, enum pw_stream_state old, enum pw_stream_state state, const char *error)
{
	struct painter *painter = data;
	(void)old;
	if (error != NULL)
		fprintf(stderr, "%s\n", error);
	if (state == PW_STREAM_STATE_STREAMING)
		begin(painter);
}

static const struct spa_pod *pictures(const struct painter *painter, struct spa_pod_builder *builder)
{
	return spa_pod_builder_add_object(builder,
		SPA_TYPE_OBJECT_Format, SPA_PARAM_EnumFormat,
		SPA_FORMAT_mediaType, SPA_POD_Id(SPA_MEDIA_TYPE_video),
		SPA_FORMAT_mediaSubtype, SPA_POD_Id(SPA_MEDIA_SUBTYPE_raw),
		SPA_FORMAT_VIDEO_format, SPA_POD_Id(painter->format),
		SPA_FORMAT_VIDEO_size, SPA_POD_Rectangle(&SPA_RECTANGLE(painter->width, painter->height)),
		SPA_FORMAT_VIDEO_framerate, SPA_POD_Fraction(&SPA_FRACTION(0, 1)),
		SPA_FORMAT_VIDEO_maxFramerate, SPA_POD_CHOICE_RANGE_Fraction(
			&SPA_FRACTION(60, 1), &SPA_FRACTION(1, 1), &SPA_FRACTION(60, 1)));
}

static void param_changed(void *data, uint32_t id, const struct spa_pod *param)
{
	struct painter *painter = data;
	uint8_t bytes[1024];
	struct spa_pod_builder builder = SPA_POD_BUILDER_INIT(bytes, sizeof(bytes));
	if (param == NULL || id != SPA_PARAM_Format)
		return;
	int line = stride(painter), size = line * painter->height;
	const struct spa_pod *buffers = spa_pod_builder_add_object(&builder,
		SPA_TYPE_OBJECT_ParamBuffers, SPA_PARAM_Buffers,
		SPA_PARAM_BUFFERS_buffers, SPA_POD_CHOICE_RANGE_Int(4, 2, 8),
		SPA_PARAM_BUFFERS_blocks, SPA_POD_Int(1),
		SPA_PARAM_BUFFERS_size, SPA_POD_Int(size),
		SPA_PARAM_BUFFERS_stride, SPA_POD_Int(line));
	pw_stream_update_params(painter->stream, &buffers, 1);
	begin(painter);
}

static void shrink(void *data, int signal)
{
	struct painter *painter = data;
	uint8_t bytes[1024];
	struct spa_pod_builder builder = SPA_POD_BUILDER_INIT(bytes, sizeof(bytes));
	(void)signal;
	painter->width /= 2;
	painter->height /= 2;
	painter->colour = painter->next_colour;
	const struct spa_pod *format = pictures(painter, &builder);
	pw_stream_update_params(painter->stream, &format, 1);
}

static const struct pw_stream_events events = {
	PW_VERSION_STREAM_EVENTS,
	.state_changed = state_changed,
	.param_changed = param_changed,
	.process = process,
};

int main(int argc, char *argv[])
{
	struct painter painter = { 0 };
	uint8_t bytes[1024];
	struct spa_pod_builder builder = SPA_POD_BUILDER_INIT(bytes, sizeof(bytes));
	if (argc != 7)
		return 2;
	pw_init(NULL, NULL);
	painter.format = strcmp(argv[2], "BGRx") == 0 ? SPA_VIDEO_FORMAT_BGRx : SPA_VIDEO_FORMAT_RGBx;
	painter.width = atoi(argv[3]);
	painter.height = atoi(argv[4]);
	painter.colour = strtoul(argv[5], NULL, 16);
	painter.next_colour = strtoul(argv[6], NULL, 16);
	painter.loop = pw_main_loop_new(NULL);
	struct pw_loop *loop = pw_main_loop_get_loop(painter.loop);
	pw_loop_add_signal(loop, SIGUSR1, shrink, &painter);
	painter.timer = pw_loop_add_timer(loop, tick, &painter);
	painter.stream = pw_stream_new_simple(loop, argv[1],
		pw_properties_new(PW_KEY_NODE_NAME, argv[1], PW_KEY_MEDIA_CLASS, "Video/Source", NULL),
		&events, &painter);
	const struct spa_pod *format = pictures(&painter, &builder);
	if (pw_stream_connect(painter.stream, PW_DIRECTION_OUTPUT, PW_ID_ANY,
			PW_STREAM_FLAG_DRIVER | PW_STREAM_FLAG_MAP_BUFFERS, &format, 1) < 0)
		return 1;
	pw_main_loop_run(painter.loop);
	return 0;
}
