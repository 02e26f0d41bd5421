/* Results as text and as JSON. */
#include "perf/report.h"

#include <math.h>
#include <stdio.h>

bool report_is_intact(const struct scenario *scenario, const struct result *result)
{
    /* QoS 1 is "at least once": a double there is no fault. */
    return result->lost == 0 && result->reordered == 0 && (result->duplicated == 0 || scenario->qos == 1);
}

/* ---- Text ---- */

static double us(const struct histogram *histogram, double share)
{
    return (double)histogram_percentile(histogram, share) / 1000;
}

static bool has_messages(const struct scenario *scenario)
{
    return scenario->pattern != PATTERN_CONNECT && scenario->pattern != PATTERN_IDLE &&
           scenario->pattern != PATTERN_STORM;
}

static void text_head(const struct options *options, const struct scenario *scenario)
{
    printf("%s on %s: ", scenario->name, options->target);
    if (scenario->pattern == PATTERN_STORM) {
        printf("%u retained messages of %u bytes, %u clients that subscribe to all of them\n", scenario->retained,
               scenario->payload, scenario->subscribers);
        return;
    }
    if (!has_messages(scenario)) {
        printf("%u connections\n", scenario->publishers);
        return;
    }
    printf("%u -> %u, QoS %u, %u bytes, ", scenario->publishers, scenario->subscribers, scenario->qos,
           scenario->payload);
    if (scenario->rate > 0)
        printf("open loop, %.0f messages/s\n", scenario->rate);
    else
        printf("closed loop\n");
}

static void text_storm(const struct result *result)
{
    printf("  delivered  %12.0f /s   lost %llu, duplicated %llu\n", result->delivered_per_s,
           (unsigned long long)result->lost, (unsigned long long)result->duplicated);
    printf("  below, the time from connecting to the last retained message\n");
}

static void text_messages(const struct scenario *scenario, const struct result *result)
{
    printf("  sent       %12.0f /s\n", result->sent_per_s);
    printf("  delivered  %12.0f /s   lost %llu, duplicated %llu, reordered %llu\n", result->delivered_per_s,
           (unsigned long long)result->lost, (unsigned long long)result->duplicated,
           (unsigned long long)result->reordered);
    if (scenario->rate > 0 && result->sent_per_s < 0.99 * scenario->rate)
        printf("  the rate was not held: what the broker did not take in time is in the latency\n");
}

static void text_latency(const struct result *result)
{
    const struct histogram *latency = &result->latency;
    if (latency->count == 0)
        return;
    printf("  latency us  p50 %.1f   p90 %.1f   p99 %.1f   p99.9 %.1f   max %.1f\n", us(latency, 0.5), us(latency, 0.9),
           us(latency, 0.99), us(latency, 0.999), (double)latency->largest / 1000);
}

void report_text(const struct options *options, const struct scenario *scenario, const struct result *result)
{
    text_head(options, scenario);
    if (scenario->pattern == PATTERN_CONNECT || scenario->pattern == PATTERN_IDLE)
        printf("  connected  %12.0f /s\n", result->delivered_per_s);
    else if (scenario->pattern == PATTERN_STORM)
        text_storm(result);
    else
        text_messages(scenario, result);
    text_latency(result);
    if (!isnan(result->broker_cpu))
        printf("  broker     %11.0f %% of a CPU\n", 100 * result->broker_cpu);
    printf("  generator  %11.0f %% of a CPU%s\n", 100 * result->generator_busy,
           options->dpdk != NULL ? " with work, the rest polling" : ", its busiest thread");
    if (scenario->pattern == PATTERN_IDLE && !isnan(result->bytes_per_connection))
        printf("  memory     %12.0f bytes of the broker per connection, without the kernel's; %.0f MiB in all\n",
               result->bytes_per_connection, result->broker_memory / (1 << 20));
}

/* ---- JSON ---- */

static void json_string(const char *text)
{
    putchar('"');
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar((unsigned char)*text < 0x20 ? ' ' : *text);
    }
    putchar('"');
}

static void json_number(const char *name, double value, int decimals)
{
    if (isnan(value))
        printf(",\"%s\":null", name);
    else
        printf(",\"%s\":%.*f", name, decimals, value);
}

static void json_latency(const struct histogram *latency)
{
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}, {"p999_us", 0.999}, {"max_us", 1}};
    for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
        json_number(percentiles[i].name, latency->count > 0 ? us(latency, percentiles[i].share) : NAN, 1);
}

/* Latency by percentile, and deliveries by time: for plots. */
static void json_details(const struct result *result)
{
    static const double shares[] = {0,    0.1,  0.2,   0.3,   0.4,   0.5,    0.6,    0.7,    0.8,     0.9, 0.95,
                                    0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999, 1};
    printf(",\"distribution\":[");
    for (size_t i = 0; result->latency.count > 0 && i < sizeof(shares) / sizeof(shares[0]); i++)
        printf("%s[%g,%.1f]", i > 0 ? "," : "", shares[i], us(&result->latency, shares[i]));
    printf("],\"rates\":[");
    for (uint32_t i = 0; i < result->rates; i++)
        printf("%s[%.3f,%.0f]", i > 0 ? "," : "", result->rate_end[i], result->rate[i]);
    printf("]");
}

void report_json(const struct options *options, const struct scenario *scenario, const struct result *result)
{
    fputs("{\"scenario\":", stdout);
    json_string(scenario->name);
    fputs(",\"target\":", stdout);
    json_string(options->target);
    json_number("sent_per_s", result->sent_per_s, 1);
    json_number("delivered_per_s", result->delivered_per_s, 1);
    printf(",\"lost\":%llu,\"duplicated\":%llu,\"reordered\":%llu", (unsigned long long)result->lost,
           (unsigned long long)result->duplicated, (unsigned long long)result->reordered);
    json_latency(&result->latency);
    json_number("broker_cpu", result->broker_cpu, 3);
    json_number("generator_busy", result->generator_busy, 3);
    json_number("generator_cpu", result->generator_cpu, 3);
    json_number("broker_memory", result->broker_memory, 0);
    json_number("bytes_per_connection", scenario->pattern == PATTERN_IDLE ? result->bytes_per_connection : NAN, 0);
    json_number("rate", scenario->rate > 0 ? scenario->rate : NAN, 1);
    if (options->details)
        json_details(result);
    printf(",\"sent\":%llu,\"delivered\":%llu}\n", (unsigned long long)result->sent,
           (unsigned long long)result->delivered);
}
