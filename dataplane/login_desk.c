/* Slots of logins on their way between a worker and the housekeeper. See login_desk.h. */
#include "dataplane/login_desk.h"

#include <stdlib.h>
#include <string.h>

static struct mailbox *mailbox_create(uint32_t count)
{
    uint32_t slots = 1;
    while (slots < count) {
        slots *= 2;
    }
    struct mailbox *mailbox = aligned_alloc(64, (mailbox_size(slots) + 63) / 64 * 64);
    if (mailbox != NULL) {
        mailbox_init(mailbox, slots);
    }
    return mailbox;
}

struct login_desk *login_desk_create(const struct shm_config *config, uint32_t worker, struct doorbell *worker_bell,
                                     struct doorbell *housekeeper_bell)
{
    const uint32_t count = login_desk_slots(config);
    struct login_desk *desk = calloc(1, sizeof(*desk) + count * sizeof(desk->slots[0]));
    if (desk == NULL) {
        return NULL;
    }
    desk->first = worker * count;
    desk->count = count;
    desk->worker_bell = worker_bell;
    desk->housekeeper_bell = housekeeper_bell;
    desk->free = calloc(count, sizeof(desk->free[0]));
    desk->asked = mailbox_create(count);
    desk->answered = mailbox_create(count);
    if (desk->free == NULL || desk->asked == NULL || desk->answered == NULL) {
        login_desk_destroy(desk);
        return NULL;
    }
    while (desk->free_count < count) {
        desk->free[desk->free_count] = count - 1 - desk->free_count;
        desk->free_count++;
    }
    return desk;
}

void login_desk_destroy(struct login_desk *desk)
{
    if (desk != NULL) {
        free(desk->free);
        free(desk->asked);
        free(desk->answered);
        free(desk);
    }
}

/* ---- Worker ----------------------------------------------------------------------------------------------------- */

uint32_t login_desk_open(struct login_desk *desk, void *owner)
{
    if (desk->free_count == 0) {
        return LOGIN_SLOT_NONE;
    }
    const uint32_t slot = desk->free[--desk->free_count];
    desk->slots[slot].owner = owner;
    desk->slots[slot].generation++;
    return slot;
}

static void slot_free(struct login_desk *desk, uint32_t slot)
{
    explicit_bzero(&desk->slots[slot].question, sizeof(desk->slots[slot].question));
    desk->free[desk->free_count++] = slot;
}

void login_desk_close(struct login_desk *desk, uint32_t slot)
{
    desk->slots[slot].owner = NULL;
    if (!desk->slots[slot].asked) {
        slot_free(desk, slot);
    } /* else when it comes back */
}

static void bytes_set(uint8_t *to, uint16_t *length, const uint8_t *bytes, uint32_t n)
{
    *length = (uint16_t)n;
    if (n > 0) {
        memcpy(to, bytes, n);
    }
}

void login_desk_ask(struct login_desk *desk, uint32_t slot, enum shm_login_step step, const uint8_t *name,
                    uint32_t name_length, const uint8_t *data, uint32_t data_length)
{
    struct login_slot *place = &desk->slots[slot];
    struct shm_login_question *question = &place->question;
    memset(question, 0, sizeof(*question));
    question->login = (uint64_t)place->generation << 32 | (desk->first + slot);
    question->step = (uint16_t)step;
    bytes_set(question->name, &question->name_length, name, name_length);
    bytes_set(question->data, &question->data_length, data, data_length);
    place->asked = true;
    mailbox_reclaim(desk->asked, NULL);
    mailbox_put(desk->asked, (struct mail){.number = slot});
    doorbell_published();
    doorbell_ring(desk->housekeeper_bell);
}

void *login_desk_take(struct login_desk *desk)
{
    while (mailbox_pending(desk->answered) > 0) {
        const uint32_t slot = mailbox_at(desk->answered, 0)->number;
        mailbox_done(desk->answered, 1);
        desk->slots[slot].asked = false;
        if (desk->slots[slot].owner != NULL) {
            return desk->slots[slot].owner;
        }
        slot_free(desk, slot);
    }
    return NULL;
}

/* ---- Housekeeper ------------------------------------------------------------------------------------------------ */

void login_desk_answer(struct login_desk *desk, uint32_t slot)
{
    desk->slots[slot].sent_at = 0;
    mailbox_reclaim(desk->answered, NULL);
    mailbox_put(desk->answered, (struct mail){.number = slot});
    doorbell_published();
    doorbell_ring(desk->worker_bell);
}
