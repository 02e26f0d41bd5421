/* The sender's slow half of the mailboxes: mails that wait, and getting blocks back. See mailbox.h. */
#include "dataplane/mailbox.h"

#include <string.h>

#include "dataplane/message.h"

void mailbox_init(struct mailbox *mailbox, uint32_t slots)
{
    memset(mailbox, 0, sizeof(*mailbox));
    mailbox->mask = slots - 1;
}

bool mailbox_post(struct mailbox *mailbox, struct mem_region *memory, struct mail mail)
{
    if (mailbox_has_room(mailbox, 1)) {
        mailbox_put(mailbox, mail);
        return true;
    }
    struct mail_waiting *waiting = mem_alloc(memory, sizeof(*waiting));
    if (waiting == NULL) {
        return false;
    }
    *waiting = (struct mail_waiting){.mail = mail};
    mailbox->posted++;
    if (mailbox->waiting_first == NULL) {
        mailbox->waiting_first = waiting;
    } else {
        mailbox->waiting_last->next = waiting;
    }
    mailbox->waiting_last = waiting;
    return true;
}

/* Which kind of block a mail carries decides how the sender takes it back. */
static void mail_reclaim(const struct mail *mail, struct mem_region *memory)
{
    switch (mail->type) {
    case MAIL_PUBLISH:
    case MAIL_SHARED:
    case MAIL_RETAIN:
    case MAIL_RETAINED_MATCH:
        message_release(mail->block, memory);
        break;
    default:
        if (mail->block != NULL) {
            mem_free(memory, mail->block);
        }
        break;
    }
}

static void mailbox_send_waiting(struct mailbox *mailbox, struct mem_region *memory)
{
    uint32_t head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    while (mailbox->waiting_first != NULL && head - mailbox->reclaimed <= mailbox->mask) {
        struct mail_waiting *waiting = mailbox->waiting_first;
        mailbox->waiting_first = waiting->next;
        mailbox->posted--; /* counted when it was posted; mailbox_put counts again */
        mailbox_put(mailbox, waiting->mail);
        mem_free(memory, waiting);
        head++;
    }
}

void mailbox_reclaim(struct mailbox *mailbox, struct mem_region *memory)
{
    /* Pairs with the release in mailbox_done. */
    const uint32_t tail = atomic_load_explicit(&mailbox->tail, memory_order_acquire);
    while (mailbox->reclaimed != tail) {
        mail_reclaim(&mailbox->slots[mailbox->reclaimed & mailbox->mask], memory);
        mailbox->reclaimed++;
    }
    if (mailbox->waiting_first != NULL) {
        mailbox_send_waiting(mailbox, memory);
    }
}
